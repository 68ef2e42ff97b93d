import { crc32 } from './crc32.ts';

/** Length of a token, in characters of base64url. */
const TOKEN_CHARS = 16;
const TOKEN = /^[\w-]{16}$/;
const CRC_BYTES = 4;

/**
 * What names the chunks of a body: one token, which no other fill has, so that chunks are never overwritten and never taken for
 * those of another value; and the CRC-32 of each.
 */
export interface ChunkList {
  readonly token: string;
  readonly checksums: readonly number[];
}

/** The pieces of a body, in order: views of so many bytes, the last one shorter. */
export function splitBody(body: Uint8Array, chunkBytes: number): readonly Uint8Array[] {
  const count = Math.ceil(body.length / chunkBytes);
  return Array.from({ length: count }, (_, i) => body.subarray(i * chunkBytes, (i + 1) * chunkBytes));
}

/**
 * The body of an envelope whose value is in chunks: a u32 each, big-endian, then the token, which therefore is an entry's last
 * bytes (redis/scripts.ts reads it there). Throws a RangeError for a token of another form.
 */
export function encodeChunkList(token: string, chunks: readonly Uint8Array[]): Uint8Array {
  if (!TOKEN.test(token)) throw new RangeError(`a token of chunks is ${TOKEN_CHARS} characters of base64url`);
  const bytes = new Uint8Array(chunks.length * CRC_BYTES + TOKEN_CHARS);
  const view = new DataView(bytes.buffer);
  for (const [i, chunk] of chunks.entries()) view.setUint32(i * CRC_BYTES, crc32(chunk));
  for (let i = 0; i < TOKEN_CHARS; i++) bytes[chunks.length * CRC_BYTES + i] = token.charCodeAt(i);
  return bytes;
}

/** Undefined for anything that is not a list of so many chunks. */
export function decodeChunkList(body: Uint8Array, count: number): ChunkList | undefined {
  if (body.length !== count * CRC_BYTES + TOKEN_CHARS) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const token = String.fromCharCode(...body.subarray(count * CRC_BYTES));
  if (!TOKEN.test(token)) return undefined;
  return { token, checksums: Array.from({ length: count }, (_, i) => view.getUint32(i * CRC_BYTES)) };
}

/** The body, with memory of its own; undefined where a chunk is missing or is not the one that the list names, or beyond `maxBytes`. */
export function joinChunks(
  { checksums }: ChunkList,
  chunks: readonly (Uint8Array | null | undefined)[],
  maxBytes: number,
): Uint8Array | undefined {
  const whole: Uint8Array[] = [];
  let length = 0;
  for (const [i, checksum] of checksums.entries()) {
    const chunk = chunks[i];
    if (!chunk || crc32(chunk) !== checksum) return undefined;
    length += chunk.length;
    whole.push(chunk);
  }
  if (length > maxBytes) return undefined;
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of whole) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}
