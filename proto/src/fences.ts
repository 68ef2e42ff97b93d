import { hash32 } from './hash.ts';
import type { Lsn } from './lsn.ts';
import { PrefixFences } from './prefix-fences.ts';

/**
 * Newest invalidation position of every name, in constant memory: names share slots by hash and a slot keeps the
 * largest position raised on it. Collisions answer too new a fence (a needless miss), never too old a one: "a phantom,
 * never a hole". Nothing is ever forgotten, so the memory is complete from the moment the table began.
 */
export class FenceTable {
  #slots: Float64Array;
  readonly #mask: number;

  /** @param slots power of two from 2 to 2^30; 8 bytes each. Untouched pages cost no resident memory. */
  constructor(slots: number) {
    const power = Number.isInteger(slots) && slots >= 2 && slots <= 2 ** 30 && (slots & (slots - 1)) === 0;
    if (!power) throw new RangeError(`slots must be a power of two from 2 to 2^30, found ${slots}`);
    this.#slots = new Float64Array(slots);
    this.#mask = slots - 1;
  }

  /** O(length of name). */
  raise(namespace: number, name: string, lsn: Lsn): void {
    const slot = hash32(namespace, name) & this.#mask;
    if (lsn > (this.#slots[slot] as number)) this.#slots[slot] = lsn;
  }

  /** A position at or above every one that was raised for this name; 0 if there was none. */
  newest(namespace: number, name: string): Lsn {
    return this.#slots[hash32(namespace, name) & this.#mask] as number;
  }

  /** A new array rather than zeros in the old one: what was never touched stays without memory. */
  clear(): void {
    this.#slots = new Float64Array(this.#slots.length);
  }
}

/** 2^18 slots: at 5,000 invalidations within the life of a fill, 2 % of fills are refused needlessly; 2 MiB. */
const KEY_SLOTS = 2 ** 18;
const TAG_SLOTS = 2 ** 16;

/**
 * The fence memory of one consumer of a source: keys, tags, prefixes of keys and whole namespaces (by their index in the
 * compiled rules), with the horizon below which it knows nothing (SPEC I4).
 */
export class Fences {
  readonly #keys: FenceTable;
  readonly #tags: FenceTable;
  readonly #namespaces: Float64Array;
  /** By namespace; most have none. */
  readonly #prefixes = new Map<number, PrefixFences>();
  readonly #maxPrefixes: number | undefined;
  #horizon: Lsn = 0;

  /** @param options.maxPrefixes of one namespace that are remembered one by one */
  constructor(options: { namespaces: number; keySlots?: number; tagSlots?: number; maxPrefixes?: number }) {
    this.#keys = new FenceTable(options.keySlots ?? KEY_SLOTS);
    this.#tags = new FenceTable(options.tagSlots ?? TAG_SLOTS);
    this.#namespaces = new Float64Array(options.namespaces);
    this.#maxPrefixes = options.maxPrefixes;
  }

  /** The memory is complete for positions above this one. */
  get horizon(): Lsn {
    return this.#horizon;
  }

  /** Forgets everything and begins at `at`: a start, a gap, or a new epoch. */
  restart(at: Lsn): void {
    this.#keys.clear();
    this.#tags.clear();
    this.#namespaces.fill(0);
    this.#prefixes.clear();
    this.#horizon = at;
  }

  raiseKey(namespace: number, key: string, lsn: Lsn): void {
    this.#keys.raise(namespace, key, lsn);
  }

  raiseTag(namespace: number, tag: string, lsn: Lsn): void {
    this.#tags.raise(namespace, tag, lsn);
  }

  /** Every key that begins so. */
  raisePrefix(namespace: number, prefix: string, lsn: Lsn): void {
    let prefixes = this.#prefixes.get(namespace);
    if (prefixes === undefined) {
      prefixes = new PrefixFences(this.#maxPrefixes);
      this.#prefixes.set(namespace, prefixes);
    }
    this.raiseNamespace(namespace, prefixes.raise(prefix, lsn));
  }

  raiseNamespace(namespace: number, lsn: Lsn): void {
    if (lsn > (this.#namespaces[namespace] as number)) this.#namespaces[namespace] = lsn;
  }

  /**
   * A position at or above every one above the horizon that was raised for this key, what it begins with, these tags or their
   * namespace; 0 if there was none. An index beyond the namespaces that were announced is fenced for ever. O(length of the names).
   */
  newest(namespace: number, key: string, tags: readonly string[]): Lsn {
    let newest = Math.max(this.#keys.newest(namespace, key), this.#namespaces[namespace] ?? Number.POSITIVE_INFINITY);
    for (const tag of tags) newest = Math.max(newest, this.#tags.newest(namespace, tag));
    if (this.#prefixes.size > 0) newest = Math.max(newest, this.#prefixes.get(namespace)?.newest(key) ?? 0);
    return newest;
  }
}
