import type { IncomingMessage, ServerResponse } from 'node:http';
import { FieldError } from './fields.ts';

/** `aborted`: the caller went away. */
export type BodyResult =
  | { readonly ok: true; readonly body: Uint8Array }
  | { readonly ok: false; readonly why: 'too-large' | 'aborted' };

/**
 * Reads a body of at most `maxBytes` into memory of its own: a view into a pooled slab would keep the whole slab for as
 * long as the value is cached. Stops reading as soon as it is known to be too large. Throws {@link FieldError} for a
 * transfer coding that is not undone here (RFC 9112, section 6.1): what it codes would be taken for the body.
 */
export function readBody(request: IncomingMessage, response: ServerResponse, maxBytes: number): Promise<BodyResult> {
  const coding = request.headers['transfer-encoding'];
  if (coding !== undefined && coding.trim().toLowerCase() !== 'chunked')
    throw new FieldError('Transfer-Encoding: expected chunked, and nothing else');
  const declared = request.headers['content-length'];
  const length = declared === undefined ? undefined : Number(declared);
  if (length !== undefined && length > maxBytes) return Promise.resolve({ ok: false, why: 'too-large' });
  // A caller that asked whether it may send (Expect: 100-continue) has waited until here; one of HTTP/1.0 did not ask. Of an answer
  // that waits for its turn on the connection it would stand in the wrong place; see runtime's http-server.ts.
  const asks = request.headers.expect !== undefined && request.httpVersion !== '1.0';
  if (asks && response.socket !== null) response.writeContinue();
  return new Promise((resolve) => {
    const body = new GrowingBody();
    const finish = (result: BodyResult): void => {
      request.off('data', onData).off('end', onEnd).off('close', onClose);
      resolve(result);
    };
    const onData = (chunk: Buffer): void => {
      if (body.bytes + chunk.length > maxBytes) finish({ ok: false, why: 'too-large' });
      else body.add(chunk);
    };
    const onEnd = (): void => finish({ ok: true, body: body.take() });
    const onClose = (): void => finish({ ok: false, why: 'aborted' });
    request.on('data', onData).on('end', onEnd).on('close', onClose);
  });
}

/**
 * What has come of a body, in one piece that grows by doubling. A list of the pieces that came would not do: a caller may
 * send its chunks byte by byte, and each of them costs more than 100 bytes to keep.
 */
class GrowingBody {
  /** Most bodies come in one piece, which is copied only once. */
  #only: Buffer | undefined;
  #room = Buffer.alloc(0);
  bytes = 0;

  add(chunk: Buffer): void {
    const at = this.bytes;
    this.bytes += chunk.length;
    if (at === 0) {
      this.#only = chunk;
      return;
    }
    if (this.bytes > this.#room.length) this.#grow(at);
    chunk.copy(this.#room, at);
    this.#only = undefined;
  }

  take(): Uint8Array {
    const body = Buffer.allocUnsafeSlow(this.bytes);
    (this.#only ?? this.#room).copy(body, 0, 0, this.bytes);
    return body;
  }

  #grow(taken: number): void {
    const room = Buffer.allocUnsafeSlow(Math.max(1024, 2 * this.bytes));
    (this.#only ?? this.#room).copy(room, 0, 0, taken);
    this.#room = room;
  }
}
