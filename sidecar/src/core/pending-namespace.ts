import type { Entry, PendingWrite } from '@tidemark/proto';
import { withOwnMemory } from './own-memory.ts';

/**
 * Why reads of a namespace cannot be answered: it is not known which writes wait. `overflow`: more wait than fit here, or a later
 * version wrote some.
 */
export type PendingBypass = 'starting' | 'stalled' | 'overflow';

/** Makes the entity tag of a value. */
export type EtagOf = (contentType: string, body: Uint8Array) => string;

/** What all namespaces have in common. */
interface AllPending {
  /** Lets go of what every new reader of the database sees. */
  settle(): void;
  bypass(nowMs: number): PendingBypass | undefined;
}

/** What an entry takes besides key and body. */
const OVERHEAD_BYTES = 512;
/** Writes are refused beyond this part of the room, so that those of others who have not heard of it yet still fit. */
const FULL = 0.75;

interface Waiting {
  readonly offset: number;
  readonly atMs: number;
  readonly bytes: number;
  readonly entry: Entry;
}

/** The writes of one namespace that are acknowledged and may not be in the database yet: the newest of each key. */
export class PendingNamespace {
  readonly maxBytes: number;
  readonly #all: AllPending;
  readonly #etagOf: EtagOf;
  /** In the order of their offsets: what is written again goes to the end. */
  readonly #byKey = new Map<string, Waiting>();
  #bytes = 0;
  #reservedBytes = 0;
  /** From this offset on writes were not kept. */
  #blindSince: number | undefined;

  constructor(all: AllPending, options: { maxBytes: number; etagOf: EtagOf }) {
    this.#all = all;
    this.maxBytes = options.maxBytes;
    this.#etagOf = options.etagOf;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** When the write that waits longest was taken, of those that are the newest of their keys; undefined where none waits. */
  get oldestAtMs(): number | undefined {
    this.#all.settle();
    return this.#byKey.values().next().value?.atMs;
  }

  /** Undefined while all that waits is known. */
  bypass(nowMs: number): PendingBypass | undefined {
    const why = this.#all.bypass(nowMs);
    return why ?? (this.#blindSince === undefined ? undefined : 'overflow');
  }

  /** What is to be answered for the key instead of anything from the cache. */
  get(key: string): Entry | undefined {
    this.#all.settle();
    return this.#byKey.get(key)?.entry;
  }

  /** Keeps room for a write that is on its way; false where there is none. Give it back with {@link release}. */
  reserve(bytes: number): boolean {
    if (this.#bytes + this.#reservedBytes + bytes + OVERHEAD_BYTES > FULL * this.maxBytes) return false;
    this.#reservedBytes += bytes + OVERHEAD_BYTES;
    return true;
  }

  release(bytes: number): void {
    this.#reservedBytes -= bytes + OVERHEAD_BYTES;
  }

  put(offset: number, write: PendingWrite): void {
    if (this.#blindSince !== undefined) return;
    const { key, body, atMs } = write;
    const bytes = 2 * key.length + body.length + OVERHEAD_BYTES;
    this.#forget(key);
    if (this.#bytes + bytes > this.maxBytes) {
      this.blind(offset);
      return;
    }
    this.#bytes += bytes;
    this.#byKey.set(key, { offset, atMs, bytes, entry: entryOf(write, this.#etagOf) });
  }

  /** Writes from this offset on cannot be held: nothing is known of their keys until it is begun anew. */
  blind(offset: number): void {
    this.clear();
    this.#blindSince = offset;
  }

  /** Writes below the offset are in the database, where every new reader sees them. */
  flushed(below: number): void {
    for (const [key, { offset }] of this.#byKey) {
      if (offset >= below) break;
      this.#forget(key);
    }
  }

  /** Whether what did not fit is flushed by now, so that it may be worth while to begin anew. */
  isWorthAnother(flushed: number): boolean {
    return this.#blindSince !== undefined && flushed > this.#blindSince;
  }

  clear(): void {
    this.#byKey.clear();
    this.#bytes = 0;
    this.#blindSince = undefined;
  }

  #forget(key: string): void {
    const before = this.#byKey.get(key);
    if (before === undefined) return;
    this.#byKey.delete(key);
    this.#bytes -= before.bytes;
  }
}

/** It has no position: it is in no state of the database yet. */
function entryOf({ kind, contentType, tags, atMs, body }: PendingWrite, etagOf: EtagOf): Entry {
  const own = withOwnMemory(body);
  const absent = kind === 'delete';
  let etag: string | undefined;
  return {
    ...TIMELESS,
    storedAtMs: atMs,
    absent,
    contentType,
    tags,
    body: own,
    // Few of those that wait are ever read.
    get etag() {
      return (etag ??= absent ? '' : etagOf(contentType, own));
    },
  };
}

const TIMELESS = {
  epoch: 0,
  asOf: 0,
  freshUntilMs: Number.MAX_SAFE_INTEGER,
  expiresAtMs: Number.MAX_SAFE_INTEGER,
  keepUntilMs: Number.MAX_SAFE_INTEGER,
  loadMs: 0,
  loadedAt: undefined,
} as const;
