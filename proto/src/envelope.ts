import { crc32 } from './crc32.ts';
import type { Lsn } from './lsn.ts';

/** A cached value with what decides whether it may be served. */
export interface Entry {
  /** Every transaction that touches the value and committed at or before this position is reflected in it. */
  readonly asOf: Lsn;
  readonly epoch: number;
  /** Wall clock, milliseconds since 1970: when the value was stored, and when its hard TTL ends. */
  readonly storedAtMs: number;
  readonly expiresAtMs: number;
  /** The row is known not to exist; the body is empty. */
  readonly absent: boolean;
  readonly contentType: string;
  readonly etag: string;
  readonly tags: readonly string[];
  readonly body: Uint8Array;
  /**
   * Every change that the value shows was committed at or before this position of its epoch (`asOf` bounds it from below).
   * Often learned later, because few need it; no part of the envelope.
   */
  loadedAt?: Lsn | undefined;
}

/**
 * Layout, big-endian, read by the Lua scripts too (redis/scripts.ts):
 *
 *   0  u8   magic 0x54           20  f64  storedAtMs
 *   1  u8   version 1            28  f64  expiresAtMs
 *   2  u8   flags                36  u32  CRC-32 of everything but these four bytes
 *   3  u8   0                    40  u16  length of contentType
 *   4  f64  asOf                 42  u16  length of etag
 *  12  f64  epoch                44  u16  number of tags
 *  46  contentType, etag, then each tag as u16 length and bytes, then the body
 */
export const ENVELOPE = { magic: 0x54, version: 1, flagTagged: 1, flagAbsent: 2, headerBytes: 46 } as const;

const encoder = new TextEncoder();
/** Without `ignoreBOM` a tag that begins with U+FEFF would lose it, and with it its fence. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** O(bytes). Throws a RangeError for more than 65,535 tags, a text beyond 65,535 bytes, or a position that is no safe integer. */
export function encodeEntry(entry: Entry): Uint8Array {
  if (!isSound(entry)) throw new RangeError('an entry needs exact positions and finite times');
  const texts = [entry.contentType, entry.etag, ...entry.tags].map((text) => encoder.encode(text));
  for (const length of [entry.tags.length, ...texts.map((text) => text.length)]) {
    if (length > 0xffff) throw new RangeError(`a length of ${length} does not fit the envelope (65535)`);
  }
  const head = ENVELOPE.headerBytes + texts.reduce((sum, text) => sum + text.length, 0) + 2 * entry.tags.length;
  const bytes = new Uint8Array(head + entry.body.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = ENVELOPE.magic;
  bytes[1] = ENVELOPE.version;
  bytes[2] = (entry.tags.length > 0 ? ENVELOPE.flagTagged : 0) | (entry.absent ? ENVELOPE.flagAbsent : 0);
  view.setFloat64(4, entry.asOf);
  view.setFloat64(12, entry.epoch);
  view.setFloat64(20, entry.storedAtMs);
  view.setFloat64(28, entry.expiresAtMs);
  let at: number = ENVELOPE.headerBytes;
  texts.forEach((text, i) => {
    if (i < 2) {
      view.setUint16(40 + 2 * i, text.length);
    } else {
      view.setUint16(at, text.length);
      at += 2;
    }
    bytes.set(text, at);
    at += text.length;
  });
  view.setUint16(44, entry.tags.length);
  bytes.set(entry.body, at);
  view.setUint32(36, checksum(bytes));
  return bytes;
}

/**
 * What changes in an entry's envelope when it takes another `asOf`: the bytes before its body as they are, and the first of them
 * as they become. O(bytes). Throws as {@link encodeEntry}.
 */
export function restamp(entry: Entry, asOf: Lsn): { readonly before: Uint8Array; readonly after: Uint8Array } {
  const bytes = encodeEntry(entry);
  const before = bytes.slice(0, bytes.length - entry.body.length);
  const view = new DataView(bytes.buffer);
  view.setFloat64(4, asOf);
  view.setUint32(36, checksum(bytes));
  return { before, after: bytes.slice(0, ENVELOPE.headerBytes) };
}

/**
 * Undefined for anything that is not a whole, undamaged envelope of a known version: the caller answers a miss.
 * Never throws. The body is a view into `bytes`, not a copy.
 */
export function decodeEntry(bytes: Uint8Array): Entry | undefined {
  if (bytes.length < ENVELOPE.headerBytes || bytes[0] !== ENVELOPE.magic || bytes[1] !== ENVELOPE.version)
    return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(36) !== checksum(bytes)) return undefined;
  try {
    const entry = readEntry(bytes, view);
    return isSound(entry) && isTagged(bytes) === entry.tags.length > 0 ? entry : undefined;
  } catch {
    return undefined; // A writer that computes the right checksum over lengths that do not fit, or over broken UTF-8.
  }
}

function readEntry(bytes: Uint8Array, view: DataView): Entry {
  let at: number = ENVELOPE.headerBytes;
  const text = (length: number): string => {
    const start = at;
    at += length;
    if (at > bytes.length) throw new RangeError('truncated');
    return decoder.decode(bytes.subarray(start, at));
  };
  const contentType = text(view.getUint16(40));
  const etag = text(view.getUint16(42));
  const tags = Array.from({ length: view.getUint16(44) }, () => {
    at += 2;
    return text(view.getUint16(at - 2));
  });
  return {
    asOf: view.getFloat64(4),
    epoch: view.getFloat64(12),
    storedAtMs: view.getFloat64(20),
    expiresAtMs: view.getFloat64(28),
    absent: ((bytes[2] as number) & ENVELOPE.flagAbsent) !== 0,
    contentType,
    etag,
    tags,
    body: bytes.subarray(at),
  };
}

/** Whether an envelope carries tags, read without decoding it. */
export function isTagged(bytes: Uint8Array): boolean {
  return ((bytes[2] ?? 0) & ENVELOPE.flagTagged) !== 0;
}

/** NaN would pass every "is there a newer fence" as "no". */
function isSound(entry: Entry): boolean {
  return (
    Number.isSafeInteger(entry.asOf) &&
    Number.isSafeInteger(entry.epoch) &&
    Number.isFinite(entry.storedAtMs) &&
    Number.isFinite(entry.expiresAtMs)
  );
}

function checksum(bytes: Uint8Array): number {
  return crc32(bytes, 40, bytes.length, crc32(bytes, 0, 36));
}
