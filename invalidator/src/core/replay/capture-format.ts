import type { ReplayRecord } from './engine.ts';
import type { Range } from './range.ts';

/*
 * A capture: eight bytes that name the format and its version, then frames of
 *
 *   u32  bytes of what follows the checksum
 *   u32  CRC-32 of them
 *   u8   kind
 *   ...  contents
 *
 * all little-endian. The first frame is the header (JSON), each of the others a record (f64 offset, f64 ms since 1970, the
 * record's value as Kafka had it) until the end mark (JSON). A capture without an end mark was not finished.
 */

/** The line break in it shows a transfer as text; the digit is the version. */
export const CAPTURE_MAGIC = new TextEncoder().encode('TMCAP1\r\n');

const KIND = { header: 1, record: 2, end: 3 } as const;
const PREFIX_BYTES = 8;
const RECORD_BYTES = 17;
/** Larger ones are damage: Kafka's records are of about 1 MiB. */
const MAX_FRAME_BYTES = 128 * 1024 * 1024;

/** CRC-32 of ISO 3309 over all of the bytes. */
export type Checksum = (bytes: Uint8Array) => number;

export interface CaptureHeader {
  readonly source: string;
  readonly topic: string;
  /** What was asked for, resolved: a replay of the capture is one of this range. */
  readonly range: Range;
  /** The same in the words of the command. */
  readonly asked: { readonly from: string; readonly to: string };
  readonly fromOffset: number;
  readonly endOffset: number;
  /** Newest epoch of the stream at that time, if it had any. */
  readonly newestEpoch: number | undefined;
  /** ms since 1970. */
  readonly capturedAtMs: number;
}

export interface CaptureEnd {
  readonly records: number;
}

export type CaptureFrame =
  | { readonly kind: 'header'; readonly header: CaptureHeader }
  | { readonly kind: 'record'; readonly record: ReplayRecord }
  | { readonly kind: 'end'; readonly end: CaptureEnd };

/** A capture that cannot be read; the message says what stands where. */
export class CaptureError extends Error {
  override name = 'CaptureError';
}

/** The bytes of one frame. */
export function encodeFrame(frame: CaptureFrame, checksum: Checksum): Uint8Array {
  const bytes = frame.kind === 'record' ? recordBody(frame.record) : jsonBody(frame);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length - PREFIX_BYTES, true);
  view.setUint32(4, checksum(bytes.subarray(PREFIX_BYTES)), true);
  return bytes;
}

function recordBody({ offset, timestampMs, value }: ReplayRecord): Uint8Array {
  const bytes = new Uint8Array(PREFIX_BYTES + RECORD_BYTES + value.length);
  const view = new DataView(bytes.buffer);
  bytes[PREFIX_BYTES] = KIND.record;
  view.setFloat64(PREFIX_BYTES + 1, offset, true);
  view.setFloat64(PREFIX_BYTES + 9, timestampMs, true);
  bytes.set(value, PREFIX_BYTES + RECORD_BYTES);
  return bytes;
}

function jsonBody(frame: Exclude<CaptureFrame, { kind: 'record' }>): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(frame.kind === 'header' ? frame.header : frame.end));
  const bytes = new Uint8Array(PREFIX_BYTES + 1 + text.length);
  bytes[PREFIX_BYTES] = KIND[frame.kind];
  bytes.set(text, PREFIX_BYTES + 1);
  return bytes;
}

/** Reads a capture piece by piece; records are views into the pieces. */
export class CaptureParser {
  readonly #checksum: Checksum;
  #rest: Uint8Array = new Uint8Array(0);
  /** Bytes of whole frames so far: up to here the capture is sound. */
  #soundBytes = 0;
  #hasMagic = false;
  #hasHeader = false;
  #hasEnd = false;

  constructor(checksum: Checksum) {
    this.#checksum = checksum;
  }

  get soundBytes(): number {
    return this.#soundBytes;
  }

  get hasEnd(): boolean {
    return this.#hasEnd;
  }

  /** The frames that a piece completes. Throws {@link CaptureError} at the first that is damaged, having yielded those before. */
  *push(piece: Uint8Array): Generator<CaptureFrame> {
    let bytes = piece;
    if (this.#rest.length > 0) {
      bytes = new Uint8Array(this.#rest.length + piece.length);
      bytes.set(this.#rest);
      bytes.set(piece, this.#rest.length);
    }
    let at = 0;
    if (!this.#hasMagic && bytes.length >= CAPTURE_MAGIC.length) {
      checkMagic(bytes);
      this.#hasMagic = true;
      at = CAPTURE_MAGIC.length;
      this.#soundBytes = at;
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    while (this.#hasMagic && at + PREFIX_BYTES <= bytes.length) {
      const length = view.getUint32(at, true);
      if (length === 0 || length > MAX_FRAME_BYTES) throw this.#damaged();
      const end = at + PREFIX_BYTES + length;
      if (end > bytes.length) break;
      const body = bytes.subarray(at + PREFIX_BYTES, end);
      if (this.#hasEnd || this.#checksum(body) !== view.getUint32(at + 4, true)) throw this.#damaged();
      const frame = this.#frame(body);
      at = end;
      this.#soundBytes += PREFIX_BYTES + length;
      yield frame;
    }
    this.#rest = bytes.subarray(at);
  }

  #frame(body: Uint8Array): CaptureFrame {
    const kind = body[0];
    if ((kind === KIND.header) === this.#hasHeader) throw this.#damaged();
    if (kind === KIND.record && body.length >= RECORD_BYTES) {
      const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
      const record = { offset: view.getFloat64(1, true), timestampMs: view.getFloat64(9, true) };
      return { kind: 'record', record: { ...record, value: body.subarray(RECORD_BYTES) } };
    }
    if (kind === KIND.header) {
      this.#hasHeader = true;
      return { kind: 'header', header: parseJson(body) as CaptureHeader };
    }
    if (kind === KIND.end) {
      this.#hasEnd = true;
      return { kind: 'end', end: parseJson(body) as CaptureEnd };
    }
    throw this.#damaged();
  }

  #damaged(): CaptureError {
    return new CaptureError(`it is damaged at byte ${this.#soundBytes}`);
  }
}

function checkMagic(bytes: Uint8Array): void {
  for (let i = 0; i < CAPTURE_MAGIC.length; i++) {
    if (bytes[i] === CAPTURE_MAGIC[i]) continue;
    // "TMCAP" and another digit.
    throw new CaptureError(
      i === 5 ? 'it was written by another version, expected format 1' : 'it is no capture of tidemark capture',
    );
  }
}

function parseJson(body: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(body.subarray(1)));
}
