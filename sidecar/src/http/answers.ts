import type { ServerResponse } from 'node:http';
import { formatLsn, type Entry, type Lsn } from '@tidemark/proto';
import { problem, type ProblemCode } from '@tidemark/runtime';
import type { FillRefusal } from '../core/filler.ts';
import type { BypassReason, ValueFrom } from '../core/flights.ts';
import type { LoadFailure } from '../core/ports.ts';
import type { PurgeOutcome } from '../core/purger.ts';
import type { Visit } from '../core/sessions.ts';

/** The applied watermark as text; it is the same for thousands of answers in a row. */
export class LsnText {
  #lsn: Lsn = 0;
  #text = formatLsn(0);

  of(lsn: Lsn): string {
    if (lsn !== this.#lsn) {
      this.#lsn = lsn;
      this.#text = formatLsn(lsn);
    }
    return this.#text;
  }
}

/**
 * Why a request was not answered by what is cached (RFC 9211 section 2.2). `request`: it does not take what is there. `stale`: there is a
 * value, but it is too old.
 */
export type Forward = 'miss' | 'request' | 'stale';

/** What an answer with a value needs besides the value. */
export interface ValueAnswer {
  readonly entry: Entry;
  readonly from: ValueFrom;
  /** Why it was read for this caller alone. */
  readonly bypass?: BypassReason | undefined;
  /** Why what is cached did not answer it, where it did not. */
  readonly forward: Forward;
  /** Another caller's request to the origin was used. */
  readonly collapsed?: boolean | undefined;
  readonly wallMs: number;
  /** Applied watermark; undefined where the answer promises nothing about it. */
  readonly lsn: string | undefined;
  readonly ifNoneMatch: string | undefined;
  /** False for HEAD. */
  readonly withBody: boolean;
  /** What the caller's session has seen now. */
  readonly session?: string | undefined;
  /** Of the lease by which the caller is asked to load the value anew. */
  readonly refresh?: string | undefined;
}

/**
 * `Cache-Status` of a value (RFC 9211). `ttl` counts to the end of its freshness and is negative afterwards. What was got from the origin
 * for this request, or for another one that it waited for, is no hit.
 */
function statusOf({ entry, from, bypass, forward, collapsed, wallMs }: ValueAnswer): string {
  if (bypass !== undefined) return `tidemark; fwd=bypass; fwd-status=${entry.absent ? 404 : 200}; detail=${bypass}`;
  // It is fresh until the database has it, and nobody knows when.
  if (from === 'pending') return 'tidemark; hit; detail=pending';
  const ttl = Math.floor((entry.freshUntilMs - wallMs) / 1000);
  const detail = entry.absent ? 'negative' : from;
  if (from === 'loaded' || from === 'passed') {
    const stored = from === 'loaded' ? '; stored' : '';
    return `tidemark; fwd=${forward}${stored}${collapsed === true ? '; collapsed' : ''}; ttl=${ttl}; detail=${detail}`;
  }
  if (from === 'coalesced') return `tidemark; fwd=${forward}; stored; collapsed; ttl=${ttl}; detail=${detail}`;
  return `tidemark; hit; ttl=${ttl}; detail=${detail}`;
}

/**
 * Other caches may keep a copy but must ask again before they use it: they do not hear of changes, so with any max-age
 * they would serve what was evicted here.
 */
const REVALIDATE = 'no-cache';

/** 200, 304 to a matching `If-None-Match`, or 404 for a value that is known not to exist. */
export function answerValue(response: ServerResponse, answer: ValueAnswer): void {
  const { entry, wallMs, lsn } = answer;
  const age = Math.max(0, Math.floor((wallMs - entry.storedAtMs) / 1000));
  const common = ['Cache-Status', statusOf(answer), 'Age', String(age), 'Cache-Control', REVALIDATE];
  if (lsn !== undefined) common.push('Tidemark-Lsn', lsn);
  if (answer.session !== undefined) common.push('Tidemark-Session', answer.session);
  if (answer.refresh !== undefined) common.push('Tidemark-Lease', answer.refresh);
  if (entry.absent) {
    common.push('Content-Length', '0');
    response.writeHead(404, common).end();
    return;
  }
  common.push('ETag', entry.etag);
  if (answer.ifNoneMatch !== undefined && matches(answer.ifNoneMatch, entry.etag)) {
    response.writeHead(304, common).end();
    return;
  }
  common.push('Content-Type', entry.contentType, 'Content-Length', String(entry.body.length));
  response.writeHead(200, common);
  if (!answer.withBody) response.end();
  else if (entry.body.length > MAX_JOINED_BYTES) response.end(entry.body);
  else response.end(asLatin1(entry.body), 'latin1');
}

/**
 * Up to this size a body goes out as text, one unit a byte: Node joins that with the head and writes both at once, which
 * costs a tenth less than two buffers even with the copy. Larger ones are cheaper to write from where they are.
 */
const MAX_JOINED_BYTES = 4 * 1024;

function asLatin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** RFC 9110 section 13.1.2, weak comparison. Our tags hold no quote inside, so to look for one in a list is exact. */
function matches(ifNoneMatch: string, etag: string): boolean {
  return ifNoneMatch.includes(etag) || ifNoneMatch.trim() === '*';
}

/** There is no value for it. */
export function answerMiss(
  response: ServerResponse,
  miss: { lease: string | undefined; forward: Forward; session?: string | undefined },
): void {
  const head = ['Cache-Status', `tidemark; fwd=${miss.forward}`, 'Cache-Control', 'no-store', 'Content-Length', '0'];
  if (miss.lease !== undefined) head.push('Tidemark-Lease', miss.lease);
  if (miss.session !== undefined) head.push('Tidemark-Session', miss.session);
  response.writeHead(404, head).end();
}

/** The cache has no answer: the caller loads and keeps it to itself. */
export function answerBypass(response: ServerResponse, why: BypassReason, session?: string): void {
  const head = ['Cache-Status', `tidemark; fwd=bypass; detail=${why}`];
  head.push('Cache-Control', 'no-store', 'Content-Length', '0');
  if (session !== undefined) head.push('Tidemark-Session', session);
  response.writeHead(404, head).end();
}

/** What a load that failed is to its caller. */
export const FAILURES: Readonly<Record<LoadFailure['why'], ProblemCode>> = {
  timeout: 'timeout',
  unavailable: 'unavailable',
  busy: 'unavailable',
  open: 'unavailable',
  changing: 'unavailable',
  error: 'upstream-failed',
  'too-large': 'upstream-failed',
};

/** The value could not be loaded, and there is no old one that the caller takes. */
export function answerFailure(
  response: ServerResponse,
  { failure, forward, session }: { failure: LoadFailure; forward: Forward | 'bypass'; session?: string | undefined },
): void {
  const code = FAILURES[failure.why];
  problem(response, {
    code,
    detail: failure.detail,
    headers: {
      'cache-status': `tidemark; fwd=${forward}; detail=${failure.why}`,
      ...(code === 'unavailable' && { 'retry-after': '1' }),
      ...(session !== undefined && { 'tidemark-session': session }),
    },
  });
}

/** Of an answer to a request of a session. */
export function sessionHeader(visit: Visit | undefined): Record<string, string> {
  const token = visit?.token();
  return token === undefined ? {} : { 'Tidemark-Session': token };
}

/** 204 once this sidecar has applied the purge. */
export function answerPurge(response: ServerResponse, outcome: PurgeOutcome, visit: Visit | undefined): void {
  if (outcome.ok) {
    visit?.knows(outcome.lsn);
    response.writeHead(204, { 'Tidemark-Lsn': formatLsn(outcome.lsn), ...sessionHeader(visit) }).end();
    return;
  }
  // What was written but not applied yet is the session's own all the same.
  visit?.missed(undefined);
  problem(response, {
    code: 'unavailable',
    detail: outcome.detail,
    headers: { 'retry-after': '1', ...sessionHeader(visit) },
  });
}

/** How fills that were refused are answered inside a batch; outside the problem says more. */
export const FILL_STATUS: Readonly<Record<FillRefusal, { readonly status: number; readonly problem: ProblemCode }>> = {
  'no-lease': { status: 428, problem: 'lease-required' },
  expired: { status: 410, problem: 'lease-expired' },
  mismatch: { status: 400, problem: 'bad-request' },
  fenced: { status: 409, problem: 'fenced' },
};
