import { Agent, type IncomingHttpHeaders, request } from 'node:http';

/** What a sidecar answered to a read. */
export type Cached =
  /** `value` is undefined where the cache knows that there is none. `lsn`: whoever committed at or before it is in the value. */
  | {
      readonly kind: 'hit';
      readonly value: unknown;
      readonly layer: 'l1' | 'l2';
      readonly lsn: string;
      /** What the next request of the same session sends, where this one sent one. */
      readonly session: string | undefined;
    }
  /** The sidecar loaded it for this request, or has kept an old value: it promises nothing about it. */
  | {
      readonly kind: 'unpromised';
      readonly value: unknown;
      readonly isOld: boolean;
      readonly session: string | undefined;
    }
  /** Load it. With a lease you may store it; without one the cache would not take it now, or another caller is at it. */
  | { readonly kind: 'miss'; readonly lease: string | undefined; readonly session: string | undefined }
  /** The sidecar did not answer: load it. */
  | { readonly kind: 'unreachable' };

type Headers = Readonly<Record<string, string>>;

interface Call {
  readonly method: 'GET' | 'PUT' | 'DELETE' | 'POST';
  readonly path: string;
  readonly headers?: Headers;
  readonly body?: string;
  readonly timeoutMs?: number;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A sidecar that does not answer within this is left out for a while: the cache must never cost more than it saves. */
const usualTimeoutMs = 1_000;
const leftOutMs = 500;
/** A purge goes through the database and the stream and comes back before it is answered. */
const purgeTimeoutMs = 10_000;

/** The calls of a sidecar that an application needs, over connections that are kept. Values are JSON. */
export class CacheClient {
  readonly #host: string;
  readonly #port: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  #askAgainAt = 0;

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#host = hostname;
    this.#port = port;
  }

  async get(namespace: string, key: string, headers: Headers = {}): Promise<Cached> {
    const answer = await this.#send({ method: 'GET', path: pathOf(namespace, key), headers });
    if (answer === undefined) return { kind: 'unreachable' };
    const status = answer.headers['cache-status']?.toString() ?? '';
    const lsn = answer.headers['tidemark-lsn']?.toString() ?? '';
    const session = answer.headers['tidemark-session']?.toString();
    const layer = status.includes('detail=l2') ? 'l2' : 'l1';
    const isAbsent = answer.status === 404 && status.includes('detail=negative');
    if (answer.status === 200 || isAbsent) {
      const value: unknown = isAbsent ? undefined : JSON.parse(answer.body);
      if (lsn === '') return { kind: 'unpromised', value, isOld: status.includes('detail=grace'), session };
      return { kind: 'hit', value, layer, lsn, session };
    }
    return { kind: 'miss', lease: answer.headers['tidemark-lease']?.toString(), session };
  }

  /**
   * Stores what was read from the database after the lease was handed out; undefined stores that there is nothing.
   * The sidecar refuses it where the value changed meanwhile: the caller may still use it. Answers what the next request of
   * the session sends, where there is one.
   */
  async put(
    namespace: string,
    key: string,
    fill: { value: unknown; lease: string; tags: readonly string[] },
    more: Headers = {},
  ): Promise<string | undefined> {
    const headers = {
      ...more,
      'content-type': 'application/json',
      'tidemark-lease': fill.lease,
      ...(fill.tags.length > 0 && { 'surrogate-key': fill.tags.join(' ') }),
      ...(fill.value === undefined && { 'tidemark-absent': '?1' }),
    };
    const body = JSON.stringify(fill.value) ?? '';
    const answer = await this.#send({ method: 'PUT', path: pathOf(namespace, key), headers, body });
    return answer?.headers['tidemark-session']?.toString();
  }

  /** The position of the purge, once this sidecar has applied it; undefined where it is not known whether it will come. */
  async delete(namespace: string, key: string): Promise<string | undefined> {
    return this.#purge({ method: 'DELETE', path: pathOf(namespace, key) });
  }

  /** Like {@link delete}, by tags. */
  async purgeTags(namespace: string, tags: readonly string[]): Promise<string | undefined> {
    const body = JSON.stringify({ purge: [{ namespace, tags }] });
    return this.#purge({ method: 'POST', path: '/v1/purge', body, headers: { 'content-type': 'application/json' } });
  }

  async #purge(call: Call): Promise<string | undefined> {
    const answer = await this.#exchange({ ...call, timeoutMs: purgeTimeoutMs }).catch(() => undefined);
    return answer?.status === 204 ? answer.headers['tidemark-lsn']?.toString() : undefined;
  }

  close(): void {
    this.#agent.destroy();
  }

  async #send(call: Call): Promise<Answer | undefined> {
    if (performance.now() < this.#askAgainAt) return undefined;
    try {
      return await this.#exchange(call);
    } catch {
      this.#askAgainAt = performance.now() + leftOutMs;
      return undefined;
    }
  }

  #exchange({ method, path, headers = {}, body = '', timeoutMs = usualTimeoutMs }: Call): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const options = { host: this.#host, port: this.#port, agent: this.#agent, method, path, timeout: timeoutMs };
      const length = method === 'PUT' || method === 'POST' ? { 'content-length': Buffer.byteLength(body) } : {};
      const sent = request({ ...options, headers: { ...headers, ...length } }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
        response.on('error', reject);
      });
      sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
      sent.on('error', reject);
      sent.end(body);
    });
  }
}

function pathOf(namespace: string, key: string): string {
  return `/v1/cache/${namespace}/${encodeURIComponent(key)}`;
}
