import type { Lsn } from './lsn.ts';

/** Every fill and every entry from Redis is compared with all of them: some 2 µs. */
const MAX_PREFIXES = 64;

/**
 * The newest invalidations by prefix of one namespace: exact for so many of them, and the oldest beyond that becomes a fence on the
 * whole namespace ("a phantom, never a hole", SPEC I4). What is as old as that is hardly ever asked for: leases live for seconds.
 */
export class PrefixFences {
  readonly #byPrefix = new Map<string, Lsn>();
  readonly #most: number;

  constructor(most: number = MAX_PREFIXES) {
    this.#most = most;
  }

  /** What the whole namespace has to be fenced at, because it cannot be remembered for less; 0 for nothing. */
  raise(prefix: string, lsn: Lsn): Lsn {
    if (prefix === '') return lsn;
    for (const [known, at] of this.#byPrefix) {
      if (at >= lsn && prefix.startsWith(known)) return 0;
      if (at <= lsn && known.startsWith(prefix)) this.#byPrefix.delete(known);
    }
    this.#byPrefix.set(prefix, lsn);
    return this.#byPrefix.size > this.#most ? this.#forgetOldest() : 0;
  }

  /** The newest position that was raised for a prefix of this key and is remembered; 0 if there is none. */
  newest(key: string): Lsn {
    let newest = 0;
    for (const [prefix, at] of this.#byPrefix) if (at > newest && key.startsWith(prefix)) newest = at;
    return newest;
  }

  #forgetOldest(): Lsn {
    let oldest: readonly [string, Lsn] = ['', Number.POSITIVE_INFINITY];
    for (const fence of this.#byPrefix) if (fence[1] < oldest[1]) oldest = fence;
    this.#byPrefix.delete(oldest[0]);
    return oldest[1];
  }
}
