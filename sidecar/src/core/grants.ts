import type { Flight } from './flights.ts';
import type { Lease, Leases } from './leases.ts';
import type { Namespace } from './namespace.ts';
import type { Clock, Random } from './ports.ts';
import type { ReplicaView } from './replica.ts';

/** Flights that are forgotten for each that comes. */
const SWEPT_FOR_EACH = 16;

/** Hands out leases as old as what readers of the database see (SPEC I3, I5), and knows who holds a flight and for how long. */
export class Grants {
  readonly #replica: ReplicaView;
  readonly #leases: Leases;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #holdMs: number;

  /** @param options.holdMs how long a holder keeps others from loading */
  constructor(options: { replica: ReplicaView; leases: Leases; clock: Clock; random: Random; holdMs: number }) {
    this.#replica = options.replica;
    this.#leases = options.leases;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#holdMs = options.holdMs;
  }

  /** No lease where the namespace opted out of coherence. */
  grant(namespace: Namespace, key: string): Lease | undefined {
    const { rules } = namespace;
    if (rules === undefined) return undefined;
    const { epoch, visible } = this.#replica;
    return this.#leases.grant(
      { token: this.#random.token(), namespace: rules, key, epoch, asOf: visible },
      this.#clock.monotonicMs(),
    );
  }

  /** Whether a lease that is granted now could be filled. */
  canBeFilled(namespace: Namespace, key: string): boolean {
    const { rules } = namespace;
    return rules !== undefined && this.#replica.settled(rules, key, namespace.tagsOf(key, []));
  }

  hold({ flights }: Namespace, flight: Flight, lease: Lease): void {
    const nowMs = this.#clock.monotonicMs();
    flights.sweep((each) => this.#leases.isOut(each, nowMs), SWEPT_FOR_EACH);
    flights.hold(flight, lease, nowMs);
  }

  /** Whether the holder has had its time, so that the next caller should load as well. */
  isOverdue(flight: Flight): boolean {
    if (flight.lease === undefined) return false;
    const nowMs = this.#clock.monotonicMs();
    return nowMs - flight.grantedAtMs >= this.#holdMs || nowMs > flight.lease.expiresAtMs;
  }

  /** None of those that are out may be used. */
  forget(): void {
    this.#leases.clear();
  }
}
