import { crc32 } from './crc32.ts';
import type { Lsn } from './lsn.ts';

/** A cached value with what decides whether it may be served. All times: wall clock, milliseconds since 1970. */
export interface Entry {
  /** Every transaction that touches the value and committed at or before this position is reflected in it. */
  readonly asOf: Lsn;
  readonly epoch: number;
  readonly storedAtMs: number;
  /** Its soft TTL ends: it is served further, but loaded anew. `expiresAtMs` where there is none. */
  readonly freshUntilMs: number;
  /** Its hard TTL ends: until then it is an ordinary hit. */
  readonly expiresAtMs: number;
  /** Until then it may be served where nothing better can be had, and says so. `expiresAtMs` where that is never so. */
  readonly keepUntilMs: number;
  /** How long it took to load, in whole milliseconds, 0 where nobody knows: what costs much is loaded early. */
  readonly loadMs: number;
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

/** How the body of an envelope stands for a value. */
export interface Packing {
  /** It is a frame of zstd (RFC 8878). */
  readonly zstd: boolean;
  /** It names so many chunks that hold it (chunks.ts); 0: it is there itself. At most 65,535. */
  readonly chunks: number;
  /** Length of the value itself: not packed, not in chunks. */
  readonly bodyBytes: number;
}

/** An envelope as it stands: the body of `entry` is packed as `packing` says. */
export interface Stored {
  readonly entry: Entry;
  readonly packing: Packing;
}

/**
 * Layout, big-endian, read by the Lua scripts too (redis/scripts.ts):
 *
 *   0  u8   magic 0x54           36  u32  CRC-32 of everything but these four bytes
 *   1  u8   version 2            40  u16  length of contentType
 *   2  u8   flags                42  u16  length of etag
 *   3  u8   0                    44  u16  number of tags
 *   4  f64  asOf                 46  f64  freshUntilMs
 *  12  f64  epoch                54  f64  keepUntilMs
 *  20  f64  storedAtMs           62  u32  loadMs
 *  28  f64  expiresAtMs          66  u32  bytes of the value
 *                                70  u16  number of chunks
 *  72  contentType, etag, then each tag as u16 length and bytes, then the body
 */
export const ENVELOPE = {
  magic: 0x54,
  version: 2,
  flagTagged: 1,
  flagAbsent: 2,
  flagZstd: 4,
  flagChunked: 8,
  headerBytes: 72,
} as const;

const encoder = new TextEncoder();
/** Without `ignoreBOM` a tag that begins with U+FEFF would lose it, and with it its fence. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * O(bytes). `packing` says what the body is, where it is not the value itself. Throws a RangeError for more than 65,535 tags, a
 * text beyond 65,535 bytes, a position that is no safe integer, or times that contradict each other.
 */
export function encodeEntry(entry: Entry, packing?: Packing): Uint8Array {
  const { zstd, chunks, bodyBytes } = packing ?? { zstd: false, chunks: 0, bodyBytes: entry.body.length };
  if (!isSound(entry)) throw new RangeError('an entry needs exact positions, and finite times in their order');
  const texts = [entry.contentType, entry.etag, ...entry.tags].map((text) => encoder.encode(text));
  for (const length of [entry.tags.length, chunks, ...texts.map((text) => text.length)]) {
    if (length > 0xffff) throw new RangeError(`a length of ${length} does not fit the envelope (65535)`);
  }
  for (const whole of [entry.loadMs, bodyBytes]) {
    if (!(whole <= 0xffffffff)) throw new RangeError(`${whole} does not fit the envelope (4294967295)`);
  }
  const head = ENVELOPE.headerBytes + texts.reduce((sum, text) => sum + text.length, 0) + 2 * entry.tags.length;
  const bytes = new Uint8Array(head + entry.body.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = ENVELOPE.magic;
  bytes[1] = ENVELOPE.version;
  bytes[2] =
    (entry.tags.length > 0 ? ENVELOPE.flagTagged : 0) |
    (entry.absent ? ENVELOPE.flagAbsent : 0) |
    (zstd ? ENVELOPE.flagZstd : 0) |
    (chunks > 0 ? ENVELOPE.flagChunked : 0);
  view.setFloat64(4, entry.asOf);
  view.setFloat64(12, entry.epoch);
  view.setFloat64(20, entry.storedAtMs);
  view.setFloat64(28, entry.expiresAtMs);
  view.setUint16(44, entry.tags.length);
  view.setFloat64(46, entry.freshUntilMs);
  view.setFloat64(54, entry.keepUntilMs);
  view.setUint32(62, entry.loadMs);
  view.setUint32(66, bodyBytes);
  view.setUint16(70, chunks);
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
  bytes.set(entry.body, at);
  view.setUint32(36, checksum(bytes));
  return bytes;
}

/**
 * What changes in an envelope, whole and undamaged, when its entry takes another `asOf`: the bytes before its body as they are,
 * and the first of them as they become. O(bytes). Throws a RangeError for a position that is no safe integer.
 */
export function restamp(bytes: Uint8Array, asOf: Lsn): { readonly before: Uint8Array; readonly after: Uint8Array } {
  if (!Number.isSafeInteger(asOf)) throw new RangeError('an entry needs exact positions');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let bodyAt = ENVELOPE.headerBytes + view.getUint16(40) + view.getUint16(42);
  for (let tags = view.getUint16(44); tags > 0; tags--) bodyAt += 2 + view.getUint16(bodyAt);
  // No slice(): a Buffer's would be no copy.
  const after = new Uint8Array(bytes.subarray(0, ENVELOPE.headerBytes));
  const header = new DataView(after.buffer);
  header.setFloat64(4, asOf);
  const crc = crc32(after, 40, after.length, crc32(after, 0, 36));
  header.setUint32(36, crc32(bytes, ENVELOPE.headerBytes, bytes.length, crc));
  return { before: bytes.subarray(0, bodyAt), after };
}

/**
 * Undefined for anything that is not a whole, undamaged envelope of a known version that holds its value as it is: the caller
 * answers a miss. Never throws. The body is a view into `bytes`, not a copy.
 */
export function decodeEntry(bytes: Uint8Array): Entry | undefined {
  const stored = decodeStored(bytes);
  return stored !== undefined && isWhole(stored) ? stored.entry : undefined;
}

/** Whether the body is the value itself. */
export function isWhole({ packing }: Stored): boolean {
  return !packing.zstd && packing.chunks === 0;
}

/** The same of an envelope whose body may be packed. */
export function decodeStored(bytes: Uint8Array): Stored | undefined {
  if (bytes.length < ENVELOPE.headerBytes || bytes[0] !== ENVELOPE.magic || bytes[1] !== ENVELOPE.version)
    return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(36) !== checksum(bytes)) return undefined;
  try {
    const entry = readEntry(bytes, view);
    const packing = { zstd: has(bytes, ENVELOPE.flagZstd), chunks: view.getUint16(70), bodyBytes: view.getUint32(66) };
    if (!isSound(entry) || isTagged(bytes) !== entry.tags.length > 0) return undefined;
    if (has(bytes, ENVELOPE.flagChunked) !== packing.chunks > 0) return undefined;
    const stored = { entry, packing };
    return !isWhole(stored) || packing.bodyBytes === entry.body.length ? stored : undefined;
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
    freshUntilMs: view.getFloat64(46),
    expiresAtMs: view.getFloat64(28),
    keepUntilMs: view.getFloat64(54),
    loadMs: view.getUint32(62),
    absent: has(bytes, ENVELOPE.flagAbsent),
    contentType,
    etag,
    tags,
    body: bytes.subarray(at),
  };
}

/** Whether an envelope carries tags, read without decoding it. */
export function isTagged(bytes: Uint8Array): boolean {
  return has(bytes, ENVELOPE.flagTagged);
}

function has(bytes: Uint8Array, flag: number): boolean {
  return ((bytes[2] ?? 0) & flag) !== 0;
}

/** NaN would pass every "is there a newer fence" as "no", and every "is it over" likewise. */
function isSound(entry: Entry): boolean {
  const { storedAtMs, freshUntilMs, expiresAtMs, keepUntilMs } = entry;
  return (
    Number.isSafeInteger(entry.asOf) &&
    Number.isSafeInteger(entry.epoch) &&
    Number.isSafeInteger(entry.loadMs) &&
    entry.loadMs >= 0 &&
    Number.isFinite(storedAtMs) &&
    Number.isFinite(keepUntilMs) &&
    storedAtMs <= freshUntilMs &&
    freshUntilMs <= expiresAtMs &&
    expiresAtMs <= keepUntilMs
  );
}

function checksum(bytes: Uint8Array): number {
  return crc32(bytes, 40, bytes.length, crc32(bytes, 0, 36));
}
