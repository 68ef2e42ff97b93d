/**
 * The same bytes with memory of their own. A view would keep all of what it is a view of for as long as it is cached: Node's own pool
 * for small buffers has slabs of 64 KiB, and what came over a socket or from Kafka may be larger. Not by slice(): a Buffer's is a view.
 */
export function withOwnMemory(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength === bytes.length ? bytes : new Uint8Array(bytes);
}
