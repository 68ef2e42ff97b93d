import type { Lsn, NamespaceRules } from '@tidemark/proto';

/** What a miss hands out: the right to fill one key with a value that is at least as new as `asOf`. */
export interface Lease {
  readonly token: string;
  readonly namespace: NamespaceRules;
  readonly key: string;
  readonly epoch: number;
  readonly asOf: Lsn;
  /** By the sidecar's own monotonic clock, both. */
  readonly grantedAtMs: number;
  readonly expiresAtMs: number;
}

/**
 * The leases that are out, bounded in number and time. All live equally long, so the order of granting is the order
 * of expiry and the oldest stands first.
 */
export class Leases {
  readonly #byToken = new Map<string, Lease>();
  readonly #ttlMs: number;
  readonly #most: number;

  /** @param options.most beyond it the oldest lease is forgotten; its fill is answered as expired. */
  constructor(options: { ttlMs: number; most: number }) {
    this.#ttlMs = options.ttlMs;
    this.#most = options.most;
  }

  get size(): number {
    return this.#byToken.size;
  }

  /** O(1) amortized. The token must be unguessable enough not to repeat; randomness is the caller's. */
  grant(lease: Omit<Lease, 'grantedAtMs' | 'expiresAtMs'>, nowMs: number): Lease {
    this.#expire(nowMs);
    if (this.#byToken.size >= this.#most) {
      const oldest = this.#byToken.keys().next();
      if (!oldest.done) this.#byToken.delete(oldest.value);
    }
    const granted = { ...lease, grantedAtMs: nowMs, expiresAtMs: nowMs + this.#ttlMs };
    this.#byToken.set(granted.token, granted);
    return granted;
  }

  /** A lease serves one fill. Undefined when it is unknown or expired. */
  take(token: string, nowMs: number): Lease | undefined {
    const lease = this.#byToken.get(token);
    if (lease === undefined) return undefined;
    this.#byToken.delete(token);
    return nowMs <= lease.expiresAtMs ? lease : undefined;
  }

  /** Whether a fill with it could be taken still. */
  isOut({ token, expiresAtMs }: Lease, nowMs: number): boolean {
    return nowMs <= expiresAtMs && this.#byToken.has(token);
  }

  /** Those that are out are answered as expired. */
  clear(): void {
    this.#byToken.clear();
  }

  #expire(nowMs: number): void {
    for (const [token, lease] of this.#byToken) {
      if (nowMs <= lease.expiresAtMs) return;
      this.#byToken.delete(token);
    }
  }
}
