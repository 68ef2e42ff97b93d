import { randomBytes } from 'node:crypto';
import { decodeChunkList, decodeStored, type Entry } from '@tidemark/proto';
import { Packer, type MemcachedClient, type PackedEntry, type PackingSettings } from '@tidemark/runtime';
import type { MemcachedCalls } from './calls.ts';

/** Of what an item may hold, the part that a value may have: the rest is for its tags and texts. */
const BODY_SHARE = 3 / 4;

/** Entries as they lie in memcached: packed, and if larger than an item in chunks, which are there before what names them. */
export class MemcachedValues {
  readonly packer = new Packer(() => randomBytes(12).toString('base64url'));
  readonly #client: MemcachedClient;
  readonly #calls: MemcachedCalls;
  readonly #settings: (namespace: string) => PackingSettings;
  readonly #maxValueBytes: number;

  constructor(options: {
    client: MemcachedClient;
    calls: MemcachedCalls;
    settings: (namespace: string) => PackingSettings;
    maxValueBytes: number;
  }) {
    this.#client = options.client;
    this.#calls = options.calls;
    this.#settings = options.settings;
    this.#maxValueBytes = options.maxValueBytes;
  }

  /** Undefined for an entry that no item can hold, chunks or not. */
  async pack(namespace: string, entry: Entry): Promise<PackedEntry | undefined> {
    const settings = this.#settings(namespace);
    const chunkBytes = Math.min(settings.chunkBytes, Math.floor(this.#maxValueBytes * BODY_SHARE));
    const packed = await this.packer.pack(entry, { ...settings, chunkBytes });
    return packed.envelope.length <= this.#maxValueBytes ? packed : undefined;
  }

  /** Settles when all chunks are there. Rejects as a command does. */
  async writeChunks({ chunks, token }: PackedEntry, ttlS: number): Promise<void> {
    await Promise.all(
      chunks.map((chunk, i) => this.#calls.timed('chunk', this.#client.set(chunkKey(token, i), chunk, ttlS))),
    );
  }

  /** Undefined for an entry that is damaged, or of which a part is missing. */
  async open(namespace: string, bytes: Uint8Array): Promise<Entry | undefined> {
    const stored = decodeStored(bytes);
    const entry = stored && (await this.packer.unpack(stored, this.#settings(namespace), this.#fetch));
    if (entry === undefined) this.#calls.counters.failures.damaged += 1;
    return entry;
  }

  /** Chunks of an entry that was not stored. Nobody waits for it: what stays ends with its TTL. */
  discard({ chunks, token }: PackedEntry): void {
    this.#remove(token, chunks.length);
  }

  /** The same for those of an entry whose place another one took. */
  discardOf(gone: Uint8Array): void {
    const stored = decodeStored(gone);
    if (stored === undefined || stored.packing.chunks === 0) return;
    const list = decodeChunkList(stored.entry.body, stored.packing.chunks);
    if (list !== undefined) this.#remove(list.token, stored.packing.chunks);
  }

  #remove(token: string, count: number): void {
    this.packer.counters.chunks.removed += count;
    for (let i = 0; i < count; i++)
      this.#calls.timed('chunk', this.#client.delete(chunkKey(token, i))).catch(() => undefined);
  }

  readonly #fetch = (token: string, count: number): Promise<readonly (Uint8Array | undefined)[]> =>
    Promise.all(
      Array.from(
        { length: count },
        async (_, i) => (await this.#calls.timed('chunk', this.#client.gets(chunkKey(token, i))))?.value,
      ),
    );
}

function chunkKey(token: string, number: number): string {
  return `tidemark1:D:${token}:${number}`;
}
