/** What a sidecar answers to a write. */
export interface WriteAnswer {
  readonly status: number;
  /** Last part of the problem's type; '' where there is none. */
  readonly problem: string;
}

/** `PUT /v1/write/{namespace}/{key}`, or DELETE where there is no body. Rejects when the sidecar does not answer. */
export async function write(
  sidecarUrl: string,
  [namespace, key]: readonly [namespace: string, key: string],
  body?: string,
): Promise<WriteAnswer> {
  const response = await fetch(`${sidecarUrl}/v1/write/${namespace}/${encodeURIComponent(key)}`, {
    method: body === undefined ? 'DELETE' : 'PUT',
    ...(body !== undefined && { body, headers: { 'content-type': 'text/plain' } }),
  });
  const text = await response.text();
  const problem = text.startsWith('{') ? (JSON.parse(text) as { type?: string }).type : '';
  return { status: response.status, problem: problem?.split(':').at(-1) ?? '' };
}

/** The sum of a metric over all its labels, from a text of Prometheus. */
export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}
