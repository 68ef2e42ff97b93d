import { isUtf8 } from 'node:buffer';

/**
 * Undefined for what is no JSON in UTF-8 (RFC 8259 section 8.1). Bytes of another encoding would all be read as U+FFFD, so that names
 * which differ by them became one.
 */
export function parseJson(bytes: Uint8Array): unknown {
  if (!isUtf8(bytes)) return undefined;
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    return undefined;
  }
}
