import type { Entry } from '@tidemark/proto';

/*
 * What entries occupy besides their bytes, measured with Node 26.10 as the growth of the resident memory between 100,000
 * and 200,000 of them (test/bench/memory.ts): the entry, its typed array and buffer, V8's record of that outside of its
 * heap, and its node. A tag costs its place in the index; counted as if no other entry had it.
 */
const ENTRY_OVERHEAD_BYTES = 830;
const TAG_OVERHEAD_BYTES = 330;

/** Memory that an entry takes in L1, in bytes. */
export function sizeOf(key: string, entry: Entry): number {
  let bytes =
    ENTRY_OVERHEAD_BYTES + Buffer.byteLength(key) + entry.body.length + entry.contentType.length + entry.etag.length;
  for (const tag of entry.tags) bytes += TAG_OVERHEAD_BYTES + Buffer.byteLength(tag);
  return bytes;
}
