import type { Entry } from '@tidemark/proto';
import { isLoading, NOBODY } from './flights.ts';
import type { BypassReason, Flight, Joining, Landing, Outcome, ValueFrom, Waiter } from './flights.ts';
import type { Attached } from './flight-ports.ts';
import { Grants } from './grants.ts';
import type { Lease, Leases } from './leases.ts';
import type { Namespace } from './namespace.ts';
import type { Clock, LoadFailure, Random } from './ports.ts';
import type { ReplicaView } from './replica.ts';
import { takes, Waiters, type WaiterLimits } from './waiters.ts';

/**
 * Lets one caller load a missing key while the others wait for its value. Whoever waits is settled exactly once: with
 * the value when it is stored, with a lease of its own when the holder's fill was refused or is doomed or takes too
 * long, or with a bypass when nothing may be cached any more.
 */
export class Coalescer {
  #namespaces: readonly Namespace[];
  readonly #replica: ReplicaView;
  readonly #clock: Clock;
  readonly #grants: Grants;
  readonly #waiters: Waiters;
  #loads: Attached['loads'];
  #clearance: Attached['clearance'];
  #ahead: Attached['ahead'];

  constructor(options: {
    namespaces: readonly Namespace[];
    replica: ReplicaView;
    leases: Leases;
    clock: Clock;
    random: Random;
    limits: WaiterLimits;
  }) {
    this.#namespaces = options.namespaces;
    this.#replica = options.replica;
    this.#clock = options.clock;
    this.#grants = new Grants({ ...options, holdMs: options.limits.waitMs });
    this.#waiters = new Waiters(options);
  }

  /**
   * Each part once, before anything is read: who loads where a namespace says how, who says when a load is of use (without one nothing is
   * waited for), and who loads before anybody asks.
   */
  attach({ loads = this.#loads, clearance = this.#clearance, ahead = this.#ahead }: Attached): void {
    this.#loads = loads;
    this.#clearance = clearance;
    this.#ahead = ahead;
  }

  /** Whether a load that begins now would be in vain, so that it should wait a little. */
  isUnsettled(namespace: Namespace, key: string): boolean {
    return this.#clearance?.isUnsettled(namespace, key) ?? false;
  }

  /** Whether sidecars agree who loads. */
  isShared(namespace: Namespace): boolean {
    return this.#clearance?.isShared(namespace) ?? false;
  }

  /** Lets a flight that somebody waits for be loaded as soon as that is of use, whatever L2 has. */
  clear(namespace: Namespace, flight: Flight): void {
    if (this.#hasFailed(namespace, flight)) return;
    if (this.#clearance === undefined) this.board(namespace, flight);
    else this.#clearance.seek(namespace, flight, { claims: false });
  }

  /**
   * Loads a value that nobody waits for, or gets it from L2; only where the namespace has a loader. `done` is told when that has ended.
   *
   * @returns whether it was begun
   */
  background(namespace: Namespace, key: string, done: () => void = NOBODY.settle): boolean {
    if (namespace.flights.get(key) !== undefined) return false;
    const flight = namespace.flights.open(key);
    if (this.join(namespace, flight, { ...NOBODY, settle: done }) === undefined) {
      namespace.flights.close(flight);
      return false;
    }
    this.handOver(namespace, flight);
    return true;
  }

  /** Callers that wait now, in all namespaces. */
  get waiting(): number {
    return this.#waiters.count;
  }

  /** Why the namespace answers nothing from the cache now; undefined while it does. */
  bypass(namespace: Namespace): BypassReason | undefined {
    if (namespace.rules === undefined) return undefined;
    const nowMs = this.#clock.monotonicMs();
    const state = this.#replica.state(nowMs);
    if (state !== 'live') return state;
    if (!this.#replica.covers(namespace.rules)) return 'uncovered';
    return namespace.pending?.bypass(nowMs);
  }

  /** A miss with a lease that nobody waits for. */
  missAlone(namespace: Namespace, key: string): Outcome {
    return { kind: 'miss', lease: this.#grants.grant(namespace, key) };
  }

  /**
   * A miss whose lease others will wait for. Not if the lease could not be filled anyway: while a change of the key is
   * not visible to readers yet (SPEC I3), every fill is refused, so waiting for one would be in vain.
   */
  missAsHolder(namespace: Namespace, key: string, flight?: Flight): Outcome {
    const lease = this.#grants.grant(namespace, key);
    if (lease !== undefined && this.#grants.canBeFilled(namespace, key))
      this.#grants.hold(namespace, flight ?? namespace.flights.open(key), lease);
    return { kind: 'miss', lease };
  }

  /** Makes the sidecar itself the holder. No lease where the namespace opted out of coherence. */
  hold(namespace: Namespace, flight: Flight): Lease | undefined {
    const lease = this.#grants.grant(namespace, flight.key);
    if (lease !== undefined) this.#grants.hold(namespace, flight, lease);
    return lease;
  }

  /** Whether the holder has had its time, so that the next caller should load as well. */
  isOverdue(flight: Flight): boolean {
    return this.#grants.isOverdue(flight);
  }

  /** Undefined when too many wait already. */
  join(namespace: Namespace, flight: Flight, caller: Joining): Waiter | undefined {
    return this.#waiters.join(flight, caller, (waiter) => this.#onTimeout(namespace, waiter));
  }

  /** The caller is gone. Nothing happens if it was settled before. */
  leave(waiter: Waiter): void {
    this.#waiters.leave(waiter);
  }

  /**
   * A value was stored, or may be shown although it is not to be stored: whoever takes it has it in the same tick, and the flight goes on
   * for those who want what the origin has.
   */
  stored(namespace: Namespace, key: string, value: Landing): void {
    const flight = namespace.flights.get(key);
    if (flight === undefined) return;
    const waiters = [...flight.waiters].filter((waiter) => takes(waiter, value));
    const goesOn = waiters.length < flight.waiters.size;
    const isNext = goesOn && !isLoading(flight, value);
    if (!goesOn) namespace.flights.close(flight);
    this.#clearance?.release(flight, value.shared);
    this.#settleWith(namespace, waiters, value);
    if (isNext) this.clear(namespace, namespace.flights.again(flight));
  }

  /**
   * A value that the sidecar loaded may not be stored, because it may lack a change that was applied meanwhile. Whoever had asked
   * before that load began gets it all the same, as if it had asked the origin itself.
   */
  passed(namespace: Namespace, flight: Flight, { entry, load }: { entry: Entry; load: number }): void {
    const waiters = [...flight.waiters].filter(({ afterLoads }) => afterLoads < load);
    this.#settleWith(namespace, waiters, { entry, from: 'passed' });
  }

  /** The value cannot be loaded: whoever waits for it gets an old one that it takes, or is told so. */
  failed(namespace: Namespace, flight: Flight, failure: LoadFailure): void {
    this.#end(namespace, flight);
    this.gaveUp(namespace, flight.waiters, failure);
  }

  /** So it is for these; the flight goes on for others. */
  gaveUp(namespace: Namespace, waiters: Iterable<Waiter>, failure: LoadFailure): void {
    for (const waiter of waiters) this.#waiters.settleFailed(namespace, waiter, failure);
  }

  /** A fill with this lease will not come any more: the next in line loads. */
  refused(namespace: Namespace, key: string, token: string): void {
    const flight = namespace.flights.get(key);
    if (flight?.lease?.token === token) this.handOver(namespace, flight);
  }

  /**
   * Lets the next in line load where an applied change dooms the fill that is under way. To be called when a record was
   * applied as a whole: only then does the visible clock say what new leases are worth.
   */
  settleDoomed(): void {
    this.#clearance?.advanced();
    for (const namespace of this.#namespaces) {
      for (const flight of namespace.flights.takeDoomed()) this.handOver(namespace, flight);
    }
    this.#ahead?.advanced();
  }

  /** The stream begins anew, perhaps in an epoch that was there before, or rules have changed: no lease of before may be used. */
  forgetLeases(): void {
    this.#grants.forget();
  }

  /**
   * Other namespaces from here on (SPEC I16); to be called once the replica has the new rules. No lease of before may be used. Who
   * waits in a namespace that goes on is let loose on the new ones, and who waits in one that is retired is sent away.
   */
  reconfigure(namespaces: readonly Namespace[], retired: Iterable<Namespace>): void {
    this.forgetLeases();
    this.#namespaces = namespaces;
    for (const namespace of namespaces) namespace.flights.doomAll();
    for (const namespace of retired) for (const flight of namespace.flights.all()) this.handOver(namespace, flight);
    this.settleDoomed();
  }

  /** Lets the next in line load, as soon as that is of use; ends the flight where nobody would. */
  handOver(namespace: Namespace, flight: Flight): void {
    if (this.#sendAway(namespace, flight)) return;
    flight.lease = undefined;
    flight.seeking = true;
    for (const waiter of flight.waiters)
      if (waiter.role === 'onlooker') this.#waiters.settle(namespace, waiter, { kind: 'miss', lease: undefined });
    if (flight.waiters.size === 0) this.#end(namespace, flight);
    else if (this.#hasFailed(namespace, flight)) return;
    else if (this.#clearance === undefined) this.board(namespace, flight);
    else this.#clearance.seek(namespace, flight, { claims: true });
  }

  /** Nothing is to be waited for any more: the first who would load does. */
  board(namespace: Namespace, flight: Flight): void {
    const { flights } = namespace;
    flight.seeking = false;
    if (this.#sendAway(namespace, flight)) return;
    if (namespace.loads(flight.key) && flight.waiters.size > 0) {
      this.#loads?.begin(namespace, flight);
      return;
    }
    for (const waiter of flight.waiters) {
      if (waiter.role === 'background' || flight.lease !== undefined) continue;
      // The first of them, or each of them while no lease could be filled.
      this.#waiters.settle(namespace, waiter, this.missAsHolder(namespace, flight.key, flight));
    }
    if (flight.lease !== undefined && flights.get(flight.key) === flight) return;
    this.#end(namespace, flight);
    for (const waiter of flight.waiters) this.#waiters.settle(namespace, waiter, { kind: 'miss', lease: undefined });
  }

  /** Another sidecar loads it: whoever has a value that is good enough need not wait for the new one, but it should come. */
  taken(namespace: Namespace, flight: Flight): void {
    for (const waiter of flight.waiters) {
      const held = waiter.refreshes ? this.#waiters.heldBy(namespace, waiter) : undefined;
      if (held === undefined) continue;
      this.#waiters.settle(namespace, waiter, held);
      this.join(namespace, flight, NOBODY);
    }
  }

  /** Everybody is told that it could not be loaded a moment ago, where that is so. */
  #hasFailed(namespace: Namespace, flight: Flight): boolean {
    if (!namespace.loads(flight.key)) return false;
    const failure = this.#loads?.failureOf(namespace, flight.key);
    if (failure !== undefined) this.failed(namespace, flight, failure);
    return failure !== undefined;
  }

  /** Everybody leaves, because nothing may be cached; false where it may. */
  #sendAway(namespace: Namespace, flight: Flight): boolean {
    const why = this.bypass(namespace);
    if (why === undefined) return false;
    this.#end(namespace, flight);
    for (const waiter of flight.waiters) this.#waiters.settle(namespace, waiter, { kind: 'bypass', why });
    return true;
  }

  #end(namespace: Namespace, flight: Flight): void {
    namespace.flights.close(flight);
    this.#clearance?.release(flight);
  }

  #onTimeout(namespace: Namespace, waiter: Waiter): void {
    const { flight } = waiter;
    const why = this.bypass(namespace);
    if (why !== undefined) {
      this.#waiters.settle(namespace, waiter, { kind: 'bypass', why });
      return;
    }
    const isOn = namespace.flights.get(flight.key) === flight;
    if (namespace.loads(flight.key)) {
      // A caller gives up after a while. Whoever is none waits on, or more would be loaded at a time than may be.
      if (waiter.role === 'background' && isOn) {
        this.#waiters.waitOn(waiter, () => this.#onTimeout(namespace, waiter));
        return;
      }
      this.#waiters.settleFailed(namespace, waiter, { why: 'timeout', detail: 'the value was not loaded in time' });
      return;
    }
    const takesOver = isOn && this.isOverdue(flight);
    const miss = takesOver ? this.missAsHolder(namespace, flight.key, flight) : this.missAlone(namespace, flight.key);
    this.#waiters.settle(namespace, waiter, miss);
  }

  #settleWith(namespace: Namespace, waiters: readonly Waiter[], value: { entry: Entry; from: ValueFrom }): void {
    const why = this.bypass(namespace);
    if (why === undefined) this.#waiters.settleWith(namespace, waiters, value);
    else for (const waiter of waiters) this.#waiters.settle(namespace, waiter, { kind: 'bypass', why });
  }
}
