import { undocumented } from '../../../sidecar/src/testing/documented.ts';
import type { Stack } from '../../kit/index.ts';

/** What an application sees of one answer of a sidecar. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly lease: string | undefined;
  /** `Tidemark-Lsn`: the position under which the value was served. */
  readonly lsn: string | undefined;
  readonly cacheStatus: string;
  /** `Tidemark-Session`. */
  readonly session: string | undefined;
}

export interface Fill {
  readonly lease?: string | undefined;
  readonly tags?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** An application in front of one sidecar, with nothing but HTTP. */
export class App {
  readonly #base: string;

  constructor(sidecarUrl: string) {
    this.#base = `${sidecarUrl}/v1/cache`;
  }

  get(namespace: string, key: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.#call('GET', namespace, key, { headers });
  }

  put(namespace: string, key: string, body: string, fill: Fill): Promise<Answer> {
    const headers: Record<string, string> = { 'content-type': 'text/plain', ...fill.headers };
    if (fill.lease !== undefined) headers['tidemark-lease'] = fill.lease;
    if (fill.tags !== undefined) headers['surrogate-key'] = fill.tags.join(' ');
    return this.#call('PUT', namespace, key, { headers, body });
  }

  delete(namespace: string, key: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.#call('DELETE', namespace, key, { headers });
  }

  /** Cache-aside as an application does it: the cached value, else `load` and a fill. Returns what the user would get. */
  async read(
    namespace: string,
    key: string,
    load: () => Promise<string>,
    fill: Omit<Fill, 'lease'> = {},
  ): Promise<string> {
    const found = await this.get(namespace, key);
    if (found.status === 200) return found.body;
    const value = await load();
    if (found.lease !== undefined) await this.put(namespace, key, value, { ...fill, lease: found.lease });
    return value;
  }

  async #call(
    method: string,
    namespace: string,
    key: string,
    init: { headers?: Readonly<Record<string, string>>; body?: string },
  ): Promise<Answer> {
    const response = await fetch(`${this.#base}/${encodeURIComponent(namespace)}/${encodeURIComponent(key)}`, {
      method,
      ...(init.headers && { headers: { ...init.headers } }),
      ...(init.body !== undefined && { body: init.body }),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const complaint = undocumented({
      method,
      path: new URL(response.url).pathname,
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: bytes,
    });
    if (complaint !== undefined) throw new Error(`not as /openapi.json says: ${complaint}`);
    return {
      status: response.status,
      body: bytes.toString(),
      lease: response.headers.get('tidemark-lease') ?? undefined,
      lsn: response.headers.get('tidemark-lsn') ?? undefined,
      cacheStatus: response.headers.get('cache-status') ?? '',
      session: response.headers.get('tidemark-session') ?? undefined,
    };
  }
}

/** An application in front of each sidecar of a stack. */
export function appsOf(stack: Stack): App[] {
  return stack.sidecars.map((sidecar) => new App(sidecar.url));
}
