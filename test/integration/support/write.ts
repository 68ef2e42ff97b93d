/** What a sidecar answers to a write. */
export interface WriteAnswer {
  readonly status: number;
  /** Last part of the problem's type; '' where there is none. */
  readonly problem: string;
  /** Of the problem: what happened this time. */
  readonly detail: string | undefined;
  readonly sqlState: string | undefined;
  /** `Tidemark-Lsn` and `Tidemark-Session`. */
  readonly lsn: string | undefined;
  readonly session: string | undefined;
}

/** `PUT /v1/write/{namespace}/{key}`, or DELETE where there is no body. Rejects when the sidecar does not answer. */
export async function write(
  sidecarUrl: string,
  [namespace, key]: readonly [namespace: string, key: string],
  body?: string | Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>> = {},
): Promise<WriteAnswer> {
  const response = await fetch(`${sidecarUrl}/v1/write/${namespace}/${encodeURIComponent(key)}`, {
    method: body === undefined ? 'DELETE' : 'PUT',
    headers: { ...(body !== undefined && { 'content-type': 'text/plain' }), ...headers },
    ...(body !== undefined && { body }),
  });
  const text = await response.text();
  const problem = text.startsWith('{')
    ? (JSON.parse(text) as { type?: string; detail?: string; sqlState?: string })
    : {};
  return {
    status: response.status,
    problem: problem.type?.split(':').at(-1) ?? '',
    detail: problem.detail,
    sqlState: problem.sqlState,
    lsn: response.headers.get('tidemark-lsn') ?? undefined,
    session: response.headers.get('tidemark-session') ?? undefined,
  };
}

/** The sum of a metric over all its labels, from a text of Prometheus. */
export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}
