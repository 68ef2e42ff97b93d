import type { Entry } from '@tidemark/proto';
import { LRUCache } from 'lru-cache';
import type { L1Store } from '../core/ports.ts';

/*
 * What entries occupy besides their bytes, measured with Node 26.10 as the growth of the resident memory between 100,000
 * and 200,000 of them (test/bench/memory.ts): the entry, its typed array and buffer, V8's record of that outside of its
 * heap, and the places in lru-cache's lists. A tag costs its place in the index; counted as if no other entry had it.
 */
const ENTRY_OVERHEAD_BYTES = 760;
const TAG_OVERHEAD_BYTES = 330;

/** Beyond it everything goes at once (SPEC I13): one by one they would keep callers waiting for tens of milliseconds. */
const MAX_KEYS_OF_A_TAG = 20_000;

/** L1 on lru-cache: bounded by the bytes that entries occupy, with an index from tags to keys. */
export class LruStore implements L1Store {
  readonly maxBytes: number;
  #cache: LRUCache<string, Entry>;
  #keysByTag = new Map<string, Set<string>>();
  #displaced = 0;

  constructor(options: { maxBytes: number }) {
    this.maxBytes = options.maxBytes;
    this.#cache = this.#emptyCache();
  }

  get bytes(): number {
    return this.#cache.calculatedSize;
  }

  get entries(): number {
    return this.#cache.size;
  }

  get displaced(): number {
    return this.#displaced;
  }

  get(key: string): Entry | undefined {
    return this.#cache.get(key);
  }

  *recent(most: number): Iterable<readonly [string, Entry]> {
    let left = most;
    for (const [key, entry] of this.#cache.entries()) {
      if (left <= 0) return;
      left -= 1;
      yield [key, entry];
    }
  }

  *tagged(tag: string, most: number): Iterable<readonly [string, Entry]> {
    let left = most;
    for (const key of this.#keysByTag.get(tag) ?? []) {
      const entry = this.#cache.peek(key);
      if (left <= 0) return;
      left -= 1;
      if (entry !== undefined) yield [key, entry];
    }
  }

  set(key: string, entry: Entry): boolean {
    this.#cache.set(key, entry);
    if (this.#cache.peek(key) !== entry) return false;
    for (const tag of entry.tags) {
      const keys = this.#keysByTag.get(tag);
      if (keys === undefined) this.#keysByTag.set(tag, new Set([key]));
      else keys.add(key);
    }
    return true;
  }

  delete(key: string): number {
    return this.#cache.delete(key) ? 1 : 0;
  }

  deleteTag(tag: string): number {
    const keys = this.#keysByTag.get(tag);
    if (keys === undefined) return 0;
    const count = keys.size;
    if (count > MAX_KEYS_OF_A_TAG) return this.clear();
    for (const key of keys) this.#cache.delete(key);
    return count;
  }

  /** O(1): millions of entries are left to the garbage collector instead of being taken out one by one. */
  clear(): number {
    const count = this.#cache.size;
    if (count > 0) {
      this.#cache = this.#emptyCache();
      this.#keysByTag = new Map();
    }
    return count;
  }

  #emptyCache(): LRUCache<string, Entry> {
    return new LRUCache({
      maxSize: this.maxBytes,
      sizeCalculation: sizeOf,
      dispose: (entry, key, reason) => {
        if (reason === 'evict') this.#displaced += 1;
        if (entry.tags.length > 0) this.#unlink(key, entry.tags);
      },
    });
  }

  #unlink(key: string, tags: readonly string[]): void {
    for (const tag of tags) {
      const keys = this.#keysByTag.get(tag);
      if (keys === undefined || !keys.delete(key)) continue;
      if (keys.size === 0) this.#keysByTag.delete(tag);
    }
  }
}

function sizeOf(entry: Entry, key: string): number {
  let bytes =
    ENTRY_OVERHEAD_BYTES + Buffer.byteLength(key) + entry.body.length + entry.contentType.length + entry.etag.length;
  for (const tag of entry.tags) bytes += TAG_OVERHEAD_BYTES + Buffer.byteLength(tag);
  return bytes;
}
