import type { IncomingMessage, ServerResponse } from 'node:http';

/** How much of a body that is refused is still read, so that the caller gets to see the answer. */
const LINGER_BYTES = 1024 * 1024;
const LINGER_MS = 2000;

/** `aborted`: the caller went away. */
export type BodyResult =
  | { readonly ok: true; readonly body: Uint8Array }
  | { readonly ok: false; readonly why: 'too-large' | 'aborted' };

/**
 * Reads a body of at most `maxBytes` into memory of its own: a view into a pooled slab would keep the whole slab for as
 * long as the value is cached. Stops reading as soon as it is known to be too large.
 */
export function readBody(request: IncomingMessage, response: ServerResponse, maxBytes: number): Promise<BodyResult> {
  const declared = request.headers['content-length'];
  const length = declared === undefined ? undefined : Number(declared);
  if (length !== undefined && length > maxBytes) return Promise.resolve({ ok: false, why: 'too-large' });
  // A caller that asked whether it may send (Expect: 100-continue) has waited until here.
  if (request.headers.expect !== undefined) response.writeContinue();
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const finish = (result: BodyResult): void => {
      request.off('data', onData).off('end', onEnd).off('close', onClose);
      resolve(result);
    };
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > maxBytes) finish({ ok: false, why: 'too-large' });
      else chunks.push(chunk);
    };
    const onEnd = (): void => finish({ ok: true, body: join(chunks, bytes) });
    const onClose = (): void => finish({ ok: false, why: 'aborted' });
    request.on('data', onData).on('end', onEnd).on('close', onClose);
  });
}

function join(chunks: readonly Buffer[], bytes: number): Uint8Array {
  const body = Buffer.allocUnsafeSlow(bytes);
  let at = 0;
  for (const chunk of chunks) at += chunk.copy(body, at);
  return body;
}

/**
 * Lets the rest of a refused body run into nothing, within limits. To close at once would reset the connection while the
 * caller is still sending, and it would never see why.
 */
export function discardBody(request: IncomingMessage): void {
  if (request.complete) return;
  let bytes = 0;
  const cut = setTimeout(() => request.destroy(), LINGER_MS);
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > LINGER_BYTES) request.destroy();
  });
  request.on('close', () => clearTimeout(cut));
  request.on('error', () => undefined);
  request.resume();
}
