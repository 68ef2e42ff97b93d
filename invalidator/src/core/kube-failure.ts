/** What went wrong with a request, in a line; the library's own message holds headers and body. */
export interface KubeFailure {
  /** HTTP status; undefined when no answer came (then nobody knows whether the request was carried out). */
  readonly status: number | undefined;
  /** Such as `AlreadyExists` or `Conflict`, where the server gave one. */
  readonly reason: string | undefined;
  readonly message: string;
}

/** Reads an error that a client of @kubernetes/client-node rejected with. */
export function kubeFailure(error: unknown): KubeFailure {
  const { code, body, message, cause } = error as Error & { code?: unknown; body?: unknown };
  if (typeof code !== 'number' || body === undefined) {
    const below = cause instanceof Error ? `: ${cause.message}` : '';
    // A deadline is a DOMException, whose code is a number too.
    return {
      status: typeof code === 'number' && code >= 100 ? code : undefined,
      reason: undefined,
      message: `${message.split('\n', 1)[0]}${below}`,
    };
  }
  const { reason, message: told } = statusIn(body);
  return { status: code, reason, message: `${code} ${told ?? reason ?? ''}`.trim() };
}

/** Errors carry a Status object, parsed or as text (Kubernetes API conventions, "Response Status Kind"). */
function statusIn(body: unknown): { reason?: string; message?: string } {
  if (typeof body !== 'string') return body ?? {};
  try {
    return JSON.parse(body) as { reason?: string; message?: string };
  } catch {
    return { message: body.slice(0, 200) };
  }
}
