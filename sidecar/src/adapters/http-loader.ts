import type { Agent, IncomingMessage } from 'node:http';
import { parseTemplate, type HttpLoaderConfig } from '@tidemark/proto';
import { Backoff, TimeLimit, type request } from '@tidemark/runtime';
import { fill, type Origin, type OriginRequest } from '../core/origin.ts';
import type { Loaded, LoadFailure } from '../core/ports.ts';
import { tagsOf } from '../core/value-tags.ts';
import { lifetimeOf, parseCacheControl } from '../http/cache-control.ts';
import { loadMark } from '../http/load-mark.ts';
import { FieldError, MAX_TAGS, parseContentType, parsePosition, parseTags } from '../http/fields.ts';

/** Loads that wait for a connection, for each connection. */
const WAITING_PER_CONNECTION = 16;
const HEADER = 'header.';
const RETRY_FIRST_MS = 20;
const RETRY_MAX_MS = 500;
/** An idle connection is given up sooner than servers do (Node's own after 5 s), or a request could meet its end. */
const IDLE_MS = 4_000;
/** More than an address of one of our keys needs. */
const MAX_PATH_CHARS = 16_384;
/** What may work a moment later (RFC 9110 section 15, RFC 6585). */
const PASSING_STATUS = new Set([429, 502, 503, 504]);
const ABSENT_STATUS = new Set([404, 410]);

type Failed = { readonly kind: 'failed'; readonly retry: boolean; readonly afterMs?: number | undefined } & LoadFailure;
type Attempt = Exclude<Loaded, { readonly kind: 'failed' }> | Failed;

/**
 * Loads values from the application's own endpoint. Over Node's http, because fetch costs 10 MB of resident memory (see node-http.ts) and
 * bounds no connections.
 */
export class HttpLoader implements Origin {
  readonly #namespace: string;
  readonly #config: HttpLoaderConfig;
  readonly #timeoutMs: number;
  readonly #maxBytes: number;
  readonly #origin: URL;
  readonly #path;
  readonly #tags;
  readonly #agent: Agent;
  readonly #send: typeof request;
  #underWay = 0;

  /**
   * @param options.timeoutMs for each load as a whole
   * @param options.maxBytes of a value
   */
  constructor(options: { namespace: string; config: HttpLoaderConfig; timeoutMs: number; maxBytes: number }) {
    const { config } = options;
    this.#namespace = options.namespace;
    this.#config = config;
    this.#timeoutMs = options.timeoutMs;
    this.#maxBytes = options.maxBytes;
    const [origin = ''] = /^https?:\/\/[^/?]+/.exec(config.url) ?? [];
    this.#origin = new URL(origin);
    this.#path = parseTemplate(config.url.slice(origin.length));
    this.#tags = config.tags.map(parseTemplate);
    const http = process.getBuiltinModule(this.#origin.protocol === 'https:' ? 'node:https' : 'node:http');
    this.#send = http.request;
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: config.connections, timeout: IDLE_MS });
  }

  async load(request: OriginRequest): Promise<Loaded> {
    const most = this.#config.connections * (1 + WAITING_PER_CONNECTION);
    if (this.#underWay >= most)
      return {
        kind: 'failed',
        why: 'busy',
        detail: `${this.#underWay} requests are under way or wait for a connection`,
      };
    const path = this.#pathOf(request);
    if (path === undefined) {
      const detail = 'the key would lead out of its place in the URL, or make it too long';
      return { kind: 'failed', why: 'error', detail };
    }
    this.#underWay += 1;
    const limit = new TimeLimit({ timeoutMs: this.#timeoutMs });
    try {
      return await this.#loadWithin(limit, path, request);
    } finally {
      this.#underWay -= 1;
    }
  }

  async #loadWithin(limit: TimeLimit, path: string, request: OriginRequest): Promise<Loaded> {
    const backoff = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS });
    for (let left = this.#config.retries; ; left -= 1) {
      const attempt = await this.#attempt(limit, path, request);
      if (attempt.kind !== 'failed') return attempt;
      const { retry, afterMs = backoff.nextMs(), ...failure } = attempt;
      // To wait until the time is over would tell nothing more.
      if (!retry || left === 0 || afterMs >= limit.leftMs()) return failure;
      await new Promise((resolve) => setTimeout(resolve, afterMs));
    }
  }

  /**
   * Undefined for a key that could not stay in its place: a segment of dots alone, written in whatever way, means a step in the path (RFC
   * 3986 section 5.2.4, and URL implementations decode %2e for it).
   */
  #pathOf({ values }: OriginRequest): string | undefined {
    const filled = fill(this.#path, values, encodeURIComponent);
    const path = filled.startsWith('/') ? filled : `/${filled}`;
    const [segments = ''] = path.split('?', 1);
    const steps = segments.split('/').some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment));
    return steps || path.length > MAX_PATH_CHARS ? undefined : path;
  }

  #attempt(limit: TimeLimit, path: string, request: OriginRequest): Promise<Attempt> {
    const { protocol, hostname, port } = this.#origin;
    return new Promise((resolve) => {
      const outgoing = this.#send({
        protocol,
        // Node wants an address of IPv6 without its brackets.
        hostname: hostname.replace(/^\[|\]$/g, ''),
        port,
        path,
        agent: this.#agent,
        headers: {
          ...variedOf(request),
          ...this.#config.headers,
          'tidemark-load': loadMark(this.#namespace, request.address),
        },
      });
      const settle = (attempt: Attempt): void => {
        forget();
        resolve(attempt);
      };
      let isSent = false;
      outgoing.on('socket', () => (isSent = true));
      const forget = limit.onEnd(() => {
        outgoing.destroy();
        const [why, what] = isSent
          ? (['timeout', 'no answer'] as const)
          : (['busy', 'no connection became free'] as const);
        settle({ kind: 'failed', why, detail: `${what} within ${this.#timeoutMs} ms`, retry: false });
      });
      outgoing.on('error', (error: NodeJS.ErrnoException) => settle(failureOf(error)));
      outgoing.on('response', (answer) => {
        this.#read(answer, request, limit).then(settle, (error: Error) =>
          settle({ kind: 'failed', why: 'unavailable', detail: `the answer broke off: ${error.message}`, retry: true }),
        );
      });
      outgoing.end();
    });
  }

  async #read(answer: IncomingMessage, { values }: OriginRequest, limit: TimeLimit): Promise<Attempt> {
    const { statusCode = 0, headers, headersDistinct } = answer;
    const failed = (why: LoadFailure['why'], detail: string, more: Partial<Failed> = {}): Attempt => {
      drop(answer, limit);
      return { kind: 'failed', why, detail, retry: false, ...more };
    };
    try {
      const sourceLsn = parsePosition('Source-Lsn', headersDistinct['source-lsn']?.join(', '));
      const loadedAt = parsePosition('Tidemark-Loaded-At', headersDistinct['tidemark-loaded-at']?.join(', '));
      if (ABSENT_STATUS.has(statusCode)) {
        drop(answer, limit);
        return { kind: 'absent', sourceLsn, loadedAt };
      }
      if (statusCode !== 200) {
        const detail = `found status ${statusCode}, expected 200, or 404 or 410 where there is nothing`;
        if (!PASSING_STATUS.has(statusCode)) return failed('error', detail);
        return failed('unavailable', detail, { retry: true, afterMs: retryAfterMs(headers['retry-after']) });
      }
      const control = parseCacheControl(headers['cache-control']);
      // Here it would be everybody's (RFC 9111 section 5.2.2.7), and by what it differs from request to request nobody knows (section 4.1).
      const isOnes = control.isPrivate || (headers.vary ?? '').split(',').some((name) => name.trim() === '*');
      const mayKeep = !control.noStore && !control.noCache && !isOnes;
      const lifetime = lifetimeOf(control);
      const contentType = this.#config.contentType ?? parseContentType(headers['content-type']);
      const own = tagsOf(this.#tags, [values]);
      if (!own.ok) return failed('error', own.detail);
      const tags = [...new Set([...own.tags, ...parseTags(headersDistinct['surrogate-key']?.join(' '))])];
      if (tags.length > MAX_TAGS)
        return failed('error', `found ${tags.length} tags, expected at most ${MAX_TAGS} of a value`);
      if (headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity')
        return failed(
          'error',
          `found Content-Encoding: ${headers['content-encoding']}, expected none: none was asked for`,
        );
      const body = await readBody(answer, this.#maxBytes);
      if (body === undefined)
        return failed('too-large', `the value is larger than ${this.#maxBytes} bytes (maxItemBytes)`);
      const said = mayKeep ? aged(lifetime, headers.age) : { maxAgeMs: 0 };
      return { kind: 'value', body, contentType, tags, sourceLsn, loadedAt, ...said };
    } catch (error) {
      if (error instanceof FieldError) return failed('error', error.message);
      throw error;
    }
  }
}

/** The request headers by which values differ: the endpoint answers for whoever has sent them. */
function variedOf({ values }: OriginRequest): Record<string, string> {
  const named = [...values].filter(([name, value]) => name.startsWith(HEADER) && value !== '');
  // Node takes the bytes of a header as Latin-1.
  return Object.fromEntries(
    named.map(([name, value]) => [name.slice(HEADER.length), Buffer.from(value).toString('latin1')]),
  );
}

/** Why there is no answer. One that is no HTTP comes again as it is, and says nothing of other keys. */
function failureOf(error: NodeJS.ErrnoException): Failed {
  const { code = '', message } = error;
  if (code.startsWith('HPE_'))
    return { kind: 'failed', why: 'error', detail: `the answer cannot be read: ${message} (${code})`, retry: false };
  const detail = `the endpoint cannot be asked: ${message || code}`;
  return { kind: 'failed', why: 'unavailable', detail, retry: true };
}

/** The connection is used again only where little is left to read, and comes while the load has time. */
function drop(answer: IncomingMessage, limit: TimeLimit): void {
  const length = Number(answer.headers['content-length'] ?? Number.POSITIVE_INFINITY);
  if (length > 64 * 1024 || answer.readableFlowing) {
    answer.destroy();
    return;
  }
  answer.once(
    'close',
    limit.onEnd(() => answer.destroy()),
  );
  answer.resume();
}

async function readBody(answer: IncomingMessage, most: number): Promise<Uint8Array | undefined> {
  if (Number(answer.headers['content-length'] ?? 0) > most) return undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > most) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What another cache has used up of a lifetime already (RFC 9111 section 4.2.3). */
function aged<L extends { readonly maxAgeMs?: number | undefined }>(lifetime: L, age: string | undefined): L {
  const ageMs = /^\d{1,10}$/.test(age ?? '') ? Number(age) * 1000 : 0;
  return lifetime.maxAgeMs === undefined ? lifetime : { ...lifetime, maxAgeMs: Math.max(0, lifetime.maxAgeMs - ageMs) };
}

/** Milliseconds of `Retry-After` in seconds; its form as a date is not worth a clock that may differ. */
function retryAfterMs(field: string | undefined): number | undefined {
  return /^\d{1,6}$/.test(field ?? '') ? Number(field) * 1000 : undefined;
}
