/** What a sidecar answers to a read. */
export interface CacheAnswer {
  readonly status: number;
  readonly body: string;
  readonly lease: string | undefined;
  /** The header `Cache-Status`, which says why. */
  readonly cacheStatus: string;
}

/** An application's side of a sidecar, for one namespace. Rejects when the sidecar does not answer in time. */
export interface SidecarClient {
  get(key: string): Promise<CacheAnswer>;
  /** Answers the status: 201 and 204 are success. */
  put(key: string, value: string, lease: string): Promise<number>;
}

const DEADLINE_MS = 5000;

export function sidecarClient(url: string, namespace: string): SidecarClient {
  const base = new URL(`v1/cache/${encodeURIComponent(namespace)}/`, url.endsWith('/') ? url : `${url}/`);
  const ask = (key: string, init: RequestInit): Promise<Response> =>
    fetch(new URL(encodeURIComponent(key), base), { ...init, signal: AbortSignal.timeout(DEADLINE_MS) });
  return {
    async get(key) {
      const response = await ask(key, {});
      return {
        status: response.status,
        body: await response.text(),
        lease: response.headers.get('tidemark-lease') ?? undefined,
        cacheStatus: response.headers.get('cache-status') ?? '',
      };
    },
    async put(key, value, lease) {
      const headers = { 'tidemark-lease': lease, 'content-type': 'text/plain' };
      const response = await ask(key, { method: 'PUT', headers, body: value });
      await response.arrayBuffer();
      return response.status;
    },
  };
}
