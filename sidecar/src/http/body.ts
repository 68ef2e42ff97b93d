import type { IncomingMessage, ServerResponse } from 'node:http';
import { FieldError } from './fields.ts';

/** What bodies that have not come to their end may occupy together; one alone always may. */
export const MAX_HELD_BYTES = 64 * 1024 * 1024;

/** The bodies of other requests take what there is for them; one that is sent again a moment later has its turn. */
export class CrowdedError extends Error {
  override name = 'CrowdedError';
}

/** `aborted`: the caller went away. */
export type BodyResult =
  | { readonly ok: true; readonly body: Uint8Array }
  | { readonly ok: false; readonly why: 'too-large' | 'aborted' };

/**
 * Reads a body of at most `maxBytes` into memory of its own: a view into a pooled slab would keep the whole slab for as
 * long as the value is cached. Stops reading as soon as it is known to be too large. Throws {@link FieldError} for a
 * transfer coding that is not undone here (RFC 9112, section 6.1): what it codes would be taken for the body. Rejects with
 * {@link CrowdedError} where too much has come of the bodies of others.
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
  return new Promise((resolve, reject) => {
    const body = new GrowingBody(length);
    const leave = (): void => {
      request.off('data', onData).off('end', onEnd).off('close', onClose);
      body.letGo();
    };
    const finish = (result: BodyResult): void => {
      leave();
      resolve(result);
    };
    const onData = (chunk: Buffer): void => {
      if (body.bytes + chunk.length > maxBytes) finish({ ok: false, why: 'too-large' });
      else if (body.add(chunk)) return;
      else {
        leave();
        reject(new CrowdedError('the bodies of other requests take all the memory that there is for them'));
      }
    };
    const onEnd = (): void => finish({ ok: true, body: body.take() });
    const onClose = (): void => finish({ ok: false, why: 'aborted' });
    request.on('data', onData).on('end', onEnd).on('close', onClose);
  });
}

/** Of all bodies that have not come to their end, in this process. */
let heldBytes = 0;

/**
 * What has come of a body, in one piece: of the size that was declared, else one that grows by doubling. A list of the pieces that came would
 * not do: a caller may send its chunks byte by byte, and each of them costs more than 100 bytes to keep.
 */
class GrowingBody {
  readonly #declared: number | undefined;
  /** Most bodies come in one piece, which is copied only once. */
  #only: Buffer | undefined;
  #room = Buffer.alloc(0);
  bytes = 0;

  constructor(declared: number | undefined) {
    this.#declared = declared;
  }

  /** False where there is no room for it. */
  add(chunk: Buffer): boolean {
    const at = this.bytes;
    const others = heldBytes - at;
    if (others > 0 && heldBytes + chunk.length > MAX_HELD_BYTES) return false;
    heldBytes += chunk.length;
    this.bytes += chunk.length;
    if (at === 0) {
      this.#only = chunk;
      return true;
    }
    if (this.bytes > this.#room.length) this.#grow(at);
    chunk.copy(this.#room, at);
    this.#only = undefined;
    return true;
  }

  take(): Uint8Array {
    if (this.#only === undefined && this.#room.length === this.bytes) return this.#room;
    const body = Buffer.allocUnsafeSlow(this.bytes);
    (this.#only ?? this.#room).copy(body, 0, 0, this.bytes);
    return body;
  }

  /** It takes no room any more that others could need. */
  letGo(): void {
    heldBytes -= this.bytes;
    this.bytes = 0;
  }

  #grow(taken: number): void {
    const room = Buffer.allocUnsafeSlow(this.#declared ?? Math.max(1024, 2 * this.bytes));
    (this.#only ?? this.#room).copy(room, 0, 0, taken);
    this.#room = room;
  }
}
