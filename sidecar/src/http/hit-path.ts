import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Coalescer } from '../core/coalescer.ts';
import type { Namespaces } from '../core/namespace.ts';
import type { Clock } from '../core/ports.ts';
import type { SourceReplica } from '../core/replica.ts';
import { CACHE_PREFIX, splitPath, type PathParts } from './address.ts';
import { answerValue, LsnText } from './answers.ts';

/**
 * Answers GETs that L1 can answer, in front of everything else, synchronously and without a promise, a middleware or a
 * header object: at tens of thousands of requests a second those are most of the cost. All others go to `fallback`.
 */
export function hitPath(options: {
  namespaces: Namespaces;
  replica: SourceReplica;
  coalescer: Coalescer;
  clock: Clock;
  fallback: RequestListener;
}): RequestListener {
  const { namespaces, replica, coalescer, clock, fallback } = options;
  const lsnText = new LsnText();
  const parts: PathParts = { slash: 0, escaped: false };

  const answer = (request: IncomingMessage, response: ServerResponse): boolean => {
    const url = request.url as string;
    if (request.method !== 'GET' || !splitPath(url, parts)) return false;
    const namespace = namespaces.get(url.slice(CACHE_PREFIX.length, parts.slash));
    // Which value it is depends on more than the key where there are variants.
    if (namespace === undefined || namespace.variants !== undefined) return false;
    const ifNoneMatch = scanHeaders(request.rawHeaders);
    if (ifNoneMatch === false) return false;
    const key = decodeKey(url.slice(parts.slash + 1), parts.escaped);
    const entry = key === undefined ? undefined : namespace.l1.get(key);
    if (entry === undefined || namespace.pending?.get(key as string) !== undefined) return false;
    const wallMs = clock.wallMs();
    // Shortly before its end a hit may begin a refresh, which is decided elsewhere.
    if (entry.freshUntilMs - namespace.earlyReach * entry.loadMs <= wallMs || coalescer.bypass(namespace) !== undefined)
      return false;
    namespace.counters.hitsL1 += 1;
    if (--namespace.hot.countdown < 0) namespace.hot.sample(key as string);
    const lsn = namespace.rules === undefined ? undefined : lsnText.of(replica.applied);
    answerValue(response, { entry, from: 'l1', forward: 'miss', wallMs, lsn, ifNoneMatch, withBody: true });
    return true;
  };
  return (request, response) => {
    if (!answer(request, response)) fallback(request, response);
  };
}

/** The value of `If-None-Match`, if there is one; false for a request that needs a closer look. */
function scanHeaders(rawHeaders: readonly string[]): string | undefined | false {
  let ifNoneMatch: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    // Most headers are passed over by their length alone.
    if (name.length !== 13 && name.length !== 16) continue;
    switch (name.toLowerCase()) {
      case 'cache-control':
      case 'tidemark-min-lsn':
      case 'tidemark-session':
        return false;
      case 'if-none-match':
        // Several of them are joined by the slow path.
        if (ifNoneMatch !== undefined) return false;
        ifNoneMatch = rawHeaders[i + 1];
    }
  }
  return ifNoneMatch;
}

function decodeKey(text: string, escaped: boolean): string | undefined {
  if (!escaped) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
