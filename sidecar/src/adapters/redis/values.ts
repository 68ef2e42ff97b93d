import { randomBytes } from 'node:crypto';
import { decodeStored, isWhole, type Entry } from '@tidemark/proto';
import { chunkKeys, type BucketKeys } from '@tidemark/proto/redis';
import { Packer, withOwnBody, type PackedEntry, type PackingSettings } from '@tidemark/runtime';
import { asBuffer, type RedisCalls } from './calls.ts';

/** So many chunks are removed by one command. */
const MAX_REMOVED = 512;

/** Entries as they lie in Redis: packed, and if large in chunks in the same slot, which are there before what names them. */
export class RedisValues {
  readonly packer = new Packer(() => randomBytes(12).toString('base64url'));
  readonly #calls: RedisCalls;
  readonly #settings: (namespace: string) => PackingSettings;

  constructor(calls: RedisCalls, settings: (namespace: string) => PackingSettings) {
    this.#calls = calls;
    this.#settings = settings;
  }

  pack(namespace: string, entry: Entry): Promise<PackedEntry> {
    return this.packer.pack(entry, this.#settings(namespace));
  }

  /** Settles when all chunks are there. Rejects as a command does. */
  async writeChunks(keys: BucketKeys, packed: PackedEntry, lastMs: number): Promise<void> {
    const { chunks, token } = packed;
    try {
      await Promise.all(
        chunks.map((chunk, i) =>
          this.#calls.command('chunk', 'SET', keys.chunk(token, i), asBuffer(chunk), 'PX', lastMs),
        ),
      );
    } catch (error) {
      this.discard(keys, packed);
      throw error;
    }
  }

  /** Undefined for an entry that is damaged, or of which a part is missing. At once where it is neither packed nor in chunks. */
  open(keys: BucketKeys, namespace: string, bytes: Uint8Array): Entry | undefined | Promise<Entry | undefined> {
    const stored = decodeStored(bytes);
    if (stored === undefined) return this.#damaged();
    if (isWhole(stored)) return withOwnBody(stored.entry);
    const unpacked = this.packer.unpack(stored, this.#settings(namespace), this.#fetchFrom(keys));
    return unpacked.then((entry) => entry ?? this.#damaged());
  }

  #damaged(): undefined {
    this.#calls.counters.failures.damaged += 1;
  }

  /** Chunks of an entry that was not stored. Nobody waits for it: what stays ends with its TTL. */
  discard(keys: BucketKeys, { chunks, token }: PackedEntry): void {
    if (chunks.length > 0) this.#remove(chunks.map((_, i) => keys.chunk(token, i)));
  }

  /** The same for those of an entry that is there no more, as a script named them; `kept` is not removed. */
  discardOf(keys: BucketKeys, gone: unknown, kept: PackedEntry | undefined): void {
    if (!Buffer.isBuffer(gone)) return;
    const names = chunkKeys(keys, gone.toString('latin1'));
    // A command that was sent twice finds what it stored itself.
    if (kept !== undefined && kept.chunks.length > 0 && names[0] === keys.chunk(kept.token, 0)) return;
    this.#remove(names);
  }

  #remove(names: readonly string[]): void {
    this.packer.counters.chunks.removed += names.length;
    for (let at = 0; at < names.length; at += MAX_REMOVED) {
      const some = names.slice(at, at + MAX_REMOVED);
      this.#calls.command('chunk', 'UNLINK', ...some).catch(() => undefined);
    }
  }

  #fetchFrom(keys: BucketKeys): (token: string, count: number) => Promise<readonly (Uint8Array | null)[]> {
    return async (token, count) => {
      const names = Array.from({ length: count }, (_, i) => keys.chunk(token, i));
      return (await this.#calls.command('chunk', 'MGET', ...names)) as (Buffer | null)[];
    };
  }
}

/** How long it may be of use, however long ago it was stored. Redis refuses a TTL of 0. */
export function ttlMs(entry: Entry): number {
  return Math.max(1, Math.round(entry.keepUntilMs - Math.max(entry.storedAtMs, Date.now())));
}
