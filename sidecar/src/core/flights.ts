import type { Entry } from '@tidemark/proto';
import type { Lease } from './leases.ts';
import type { Unmet } from './sessions.ts';

/** Why nothing may be cached at the moment (SPEC I9). */
type NotCached = 'starting' | 'stalled' | 'uncovered';
/** Why the cache answers neither a value nor a lease. */
export type BypassReason = NotCached | Unmet;

/** How a read ends. */
export type Outcome =
  /** `coalesced`: another caller filled the key while this one waited. */
  | { readonly kind: 'value'; readonly entry: Entry; readonly from: 'l1' | 'l2' | 'coalesced' }
  | { readonly kind: 'miss'; readonly lease: Lease | undefined }
  | { readonly kind: 'bypass'; readonly why: BypassReason };

/** A caller that waits; settled exactly once, unless it leaves. */
export interface Waiter {
  readonly flight: Flight;
  readonly settle: (outcome: Outcome) => void;
  /** False for a caller that would not load: it is told of the miss instead of being handed the lease. */
  readonly wantsLease: boolean;
  /** Ends its time limit. */
  cancelTimer: () => void;
}

/**
 * A missing key that somebody is already getting: first from Redis, if that is asked at all, then by the caller that
 * holds the lease. The others wait here.
 */
export interface Flight {
  readonly key: string;
  /** Undefined while Redis is being asked. */
  lease: Lease | undefined;
  /** When the lease was granted. */
  grantedAtMs: number;
  readonly waiters: Set<Waiter>;
}

/** The flights of one namespace. Only holds them: who takes off and lands is decided in reader.ts. */
export class Flights {
  readonly #byKey = new Map<string, Flight>();
  readonly #doomed = new Set<Flight>();

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): Flight | undefined {
    return this.#byKey.get(key);
  }

  /** As they are now; closing them meanwhile is no harm. */
  all(): readonly Flight[] {
    return [...this.#byKey.values()];
  }

  open(key: string): Flight {
    const flight: Flight = { key, lease: undefined, grantedAtMs: 0, waiters: new Set() };
    this.#byKey.set(key, flight);
    return flight;
  }

  /** Gives the flight a new holder. It moves to the end, so flights with a lease stand in the order of granting. */
  hold(flight: Flight, lease: Lease, nowMs: number): void {
    flight.lease = lease;
    flight.grantedAtMs = nowMs;
    this.#byKey.delete(flight.key);
    this.#byKey.set(flight.key, flight);
  }

  /** Forgets a flight; one that took its place under the same key stays. */
  close(flight: Flight): void {
    if (this.#byKey.get(flight.key) === flight) this.#byKey.delete(flight.key);
  }

  /** Forgets flights whose lease nobody used in time and for which nobody waits. Amortized O(1) a call. */
  sweep(nowMs: number): void {
    for (const flight of this.#byKey.values()) {
      if (flight.lease === undefined || flight.waiters.size > 0 || nowMs <= flight.lease.expiresAtMs) return;
      this.#byKey.delete(flight.key);
    }
  }

  /** A change of the key was applied, so a fill that is under way will be refused. O(1). */
  doom(key: string): void {
    if (this.#byKey.size === 0) return;
    const flight = this.#byKey.get(key);
    if (flight?.lease !== undefined) this.#doomed.add(flight);
  }

  /** The same for every key. */
  doomAll(): void {
    for (const flight of this.#byKey.values()) if (flight.lease !== undefined) this.#doomed.add(flight);
  }

  /** The doomed ones that were not closed meanwhile; they are doomed no more afterwards. */
  takeDoomed(): readonly Flight[] {
    if (this.#doomed.size === 0) return NONE;
    const doomed = [...this.#doomed].filter((flight) => this.#byKey.get(flight.key) === flight);
    this.#doomed.clear();
    return doomed;
  }
}

const NONE: readonly Flight[] = [];
