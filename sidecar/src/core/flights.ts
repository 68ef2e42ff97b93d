import type { Entry } from '@tidemark/proto';
import { USUAL, type Accepts } from './freshness.ts';
import type { Lease } from './leases.ts';
import type { PendingBypass } from './pending-namespace.ts';
import type { Claimable, LoadFailure } from './ports.ts';
import type { Unmet } from './sessions.ts';

/** Why nothing may be cached at the moment (SPEC I9). */
type NotCached = 'starting' | 'stalled' | 'uncovered';
/** Why the cache answers neither a value nor a lease. `pending`: a write waits for the database, and the answer must be coherent. */
export type BypassReason = NotCached | Unmet | PendingBypass | 'pending';

/**
 * Where a value came from. `coalesced`: another caller filled the key while this one waited. `loaded`: the sidecar loaded it.
 * `passed`: likewise, but it may not be stored, because a change was applied meanwhile. `stale`: beyond its hard TTL, for a caller
 * who takes that or because it cannot be loaded anew; nothing has changed it. `grace`: it was invalidated, and never counts as coherent.
 * `pending`: it was acknowledged and is not in the database yet (SPEC I19).
 */
export type ValueFrom = 'l1' | 'l2' | 'coalesced' | 'loaded' | 'passed' | 'stale' | 'grace' | 'pending';

/**
 * Whether a value from there stands in L1 while it is answered, so that every change up to W is in it (SPEC I6). Others must be asked for, or
 * were loaded for whoever asked, and nothing is known of their position.
 */
export function isKept(from: ValueFrom): boolean {
  return from !== 'passed' && from !== 'grace' && from !== 'pending';
}

/** A read for which the cache had a value, but none that could answer it (RFC 9211 section 2.2); undefined where it had none. */
export interface Forwarded {
  readonly forward?: 'request' | 'stale';
}

/** A read that ends with a value. */
export interface ValueOutcome extends Forwarded {
  readonly kind: 'value';
  readonly entry: Entry;
  readonly from: ValueFrom;
  /** Another caller's request to the origin was used. */
  readonly collapsed?: boolean;
  /** The caller is asked to load the value anew, although it has one. */
  readonly refresh?: Lease | undefined;
}

/** How a read ends. */
export type Outcome =
  | ValueOutcome
  | (Forwarded & { readonly kind: 'miss'; readonly lease: Lease | undefined })
  | (Forwarded & { readonly kind: 'bypass'; readonly why: BypassReason })
  | (Forwarded & { readonly kind: 'failed' } & LoadFailure);

/** What was read from the origin for a caller, and is kept nowhere. */
export type Passed = { readonly kind: 'value'; readonly entry: Entry } | ({ readonly kind: 'failed' } & LoadFailure);

/** One of the loads of a flight; the first is 1. */
export interface FlightLoad {
  readonly flight: Flight;
  readonly load: number;
}

/** The value of a flight. */
export interface Landing {
  readonly entry: Entry;
  readonly from: 'l2' | 'coalesced' | 'loaded' | 'passed';
  /** The load of the sidecar that has brought it; perhaps of a flight that is over. */
  readonly by?: FlightLoad | undefined;
  /** Settles once other sidecars can see it, where they will. */
  readonly shared?: Promise<unknown> | undefined;
}

/** Whoever comes to wait, as it says of itself. */
export type Joining = Pick<Waiter, 'settle' | 'role' | 'refreshes' | 'insists' | 'accepts'>;

/** Whether the sidecar goes on loading what a value has come for: it was brought by somebody else, or by an earlier load. */
export function isLoading(flight: Flight, { by }: Landing): boolean {
  const landed = by?.flight === flight ? by.load : 0;
  return landed < flight.loads && !flight.seeking;
}

/** For whom a value is got that nobody waits for. */
export const NOBODY = {
  settle: (): void => undefined,
  role: 'background',
  refreshes: false,
  insists: false,
  accepts: USUAL,
} as const satisfies Joining;

/** A caller that waits; settled exactly once, unless it leaves. */
export interface Waiter {
  readonly flight: Flight;
  readonly settle: (outcome: Outcome) => void;
  /**
   * `caller`: takes the lease if there is no value. `onlooker`: would not load, so it is told of the miss instead. `background`: is nobody,
   * and wants the value to be there when somebody comes.
   */
  readonly role: 'caller' | 'onlooker' | 'background';
  /** It could have a value that is to be loaded anew, and waits only to learn whether it should do that. */
  readonly refreshes: boolean;
  /** It wants what the origin has (`no-cache`): nothing that is shared, and no load that had begun before it came. */
  readonly insists: boolean;
  /** What it takes where the value cannot be had. */
  readonly accepts: Accepts;
  /** How many loads its flight had begun when it came: a later one shows everything that was committed before. */
  readonly afterLoads: number;
  /** How many of those have ended in vain for it. */
  inVain: number;
  /** Ends its time limit. */
  cancelTimer: () => void;
}

/** That this sidecar loads a key, as all sidecars see it (SPEC I21). */
export interface Claim {
  readonly namespace: Claimable;
  readonly token: string;
  /** It ends by itself at this monotonic time, or a little later. */
  readonly untilMs: number;
}

/**
 * A missing key that somebody is already getting: first from L2, if that is asked at all, then, once there is nothing to wait for, by
 * the caller that holds the lease. The others wait here.
 */
export interface Flight {
  readonly key: string;
  /** Undefined until there is a holder. */
  lease: Lease | undefined;
  /** L2 does not have it, and it waits until it may be loaded; see clearance.ts. */
  seeking: boolean;
  claim: Claim | undefined;
  /** When the lease was granted. */
  grantedAtMs: number;
  /** How often the sidecar began to load the value. */
  loads: number;
  /** How many of those have not ended. */
  running: number;
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
    const flight: Flight = {
      key,
      lease: undefined,
      seeking: false,
      claim: undefined,
      grantedAtMs: 0,
      loads: 0,
      running: 0,
      waiters: new Set(),
    };
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

  /** It has got a value, and is to be loaded once more. */
  again(flight: Flight): Flight {
    // What is stored is not doomed by a change.
    flight.lease = undefined;
    return flight;
  }

  /** Forgets a flight; one that took its place under the same key stays. */
  close(flight: Flight): void {
    if (this.#byKey.get(flight.key) === flight) this.#byKey.delete(flight.key);
  }

  /**
   * Forgets flights whose lease is out no more, and for which nobody waits: so there are hardly more of them than leases, and a flood of
   * misses that nobody fills ends here too.
   *
   * @param isOut whether a lease can be filled still
   * @param most so many at once; O(most)
   */
  sweep(isOut: (lease: Lease) => boolean, most: number): void {
    let left = most;
    for (const flight of this.#byKey.values()) {
      if (left === 0 || flight.lease === undefined || flight.waiters.size > 0 || isOut(flight.lease)) return;
      this.#byKey.delete(flight.key);
      left -= 1;
    }
  }

  /** A change of the key was applied, so a fill that is under way will be refused. O(1). */
  doom(key: string): void {
    if (this.#byKey.size === 0) return;
    const flight = this.#byKey.get(key);
    if (flight?.lease !== undefined) this.#doomed.add(flight);
  }

  /** The same for every key. Those that nobody waits for, and no other sidecar, end here: there may be very many. */
  doomAll(): void {
    for (const flight of this.#byKey.values()) {
      if (flight.lease === undefined) continue;
      if (flight.waiters.size > 0 || flight.claim !== undefined) this.#doomed.add(flight);
      else this.#byKey.delete(flight.key);
    }
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
