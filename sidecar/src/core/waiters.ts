import type { Entry } from '@tidemark/proto';
import type { Flight, Joining, Landing, Outcome, ValueFrom, ValueOutcome, Waiter } from './flights.ts';
import { worthOf } from './freshness.ts';
import type { Namespace } from './namespace.ts';
import type { Clock, LoadFailure } from './ports.ts';
import { standIn } from './stand-in.ts';

export interface WaiterLimits {
  /** How long a caller waits for another one's fill; also how long a holder keeps others from loading. */
  readonly waitMs: number;
  readonly waiters: number;
  readonly waitersPerKey: number;
}

/** Who waits: bounded in number and time, settled exactly once unless it leaves, and told what its request takes. */
export class Waiters {
  readonly #clock: Clock;
  readonly #limits: WaiterLimits;
  #count = 0;

  constructor({ clock, limits }: { clock: Clock; limits: WaiterLimits }) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Callers that wait now, in all namespaces. */
  get count(): number {
    return this.#count;
  }

  /** Undefined when too many wait already. @param onTimeout called once if it still waits then */
  join(flight: Flight, caller: Joining, onTimeout: (waiter: Waiter) => void): Waiter | undefined {
    const { waiters, waitersPerKey } = this.#limits;
    if (this.#count >= waiters || flight.waiters.size >= waitersPerKey) return undefined;
    const waiter: Waiter = { flight, ...caller, afterLoads: flight.loads, inVain: 0, cancelTimer: () => undefined };
    flight.waiters.add(waiter);
    this.#count += 1;
    this.waitOn(waiter, onTimeout);
    return waiter;
  }

  /** It waits as long once more. */
  waitOn(waiter: Waiter, onTimeout: (waiter: Waiter) => void): void {
    waiter.cancelTimer = this.#clock.after(this.#limits.waitMs, () => onTimeout(waiter));
  }

  /** The caller is gone. Nothing happens if it was settled before. */
  leave(waiter: Waiter): void {
    if (!waiter.flight.waiters.delete(waiter)) return;
    waiter.cancelTimer();
    this.#count -= 1;
  }

  /** Who has a good enough value already is told of that instead of a miss, with the lease. */
  settle(namespace: Namespace, waiter: Waiter, outcome: Outcome): void {
    this.leave(waiter);
    if (waiter.role === 'background') {
      waiter.settle(outcome);
      return;
    }
    const held = waiter.refreshes && outcome.kind === 'miss' ? this.heldBy(namespace, waiter) : undefined;
    const told = held !== undefined && outcome.kind === 'miss' ? { ...held, refresh: outcome.lease } : outcome;
    count(namespace, told);
    waiter.settle(told);
  }

  /** A value for all of them; the first one's request is the one that was made for it. */
  settleWith(
    namespace: Namespace,
    waiters: Iterable<Waiter>,
    { entry, from }: { entry: Entry; from: ValueFrom },
  ): void {
    let isFirst = true;
    for (const waiter of waiters) {
      const collapsed = !isFirst && (from === 'loaded' || from === 'passed');
      isFirst = isFirst && waiter.role === 'background';
      this.settle(namespace, waiter, { kind: 'value', entry, from, ...(collapsed && { collapsed }) });
    }
  }

  /** The value cannot be had: an old one that the caller takes, or the failure. */
  settleFailed(namespace: Namespace, waiter: Waiter, failure: LoadFailure): void {
    const { flight, accepts } = waiter;
    const old = standIn(namespace, flight.key, { accepts, wallMs: this.#clock.wallMs(), failed: true });
    this.settle(namespace, waiter, old ?? { kind: 'failed', ...failure });
  }

  /** What a caller gets who has a value already. */
  heldBy(namespace: Namespace, { flight, accepts }: Waiter): ValueOutcome | undefined {
    const wallMs = this.#clock.wallMs();
    const entry = namespace.l1.get(flight.key);
    const worth = entry && worthOf(entry, accepts, wallMs);
    if (entry !== undefined && (worth === 'fresh' || worth === 'aging')) return { kind: 'value', entry, from: 'l1' };
    return standIn(namespace, flight.key, { accepts, wallMs, failed: false });
  }
}

/** Whether a value is what it waits for. */
export function takes({ insists, afterLoads, flight }: Waiter, { by }: Landing): boolean {
  return !insists || (by?.flight === flight && afterLoads < by.load);
}

/** Every read is counted once, when it is settled. */
export function count(namespace: Namespace, outcome: Outcome): void {
  const { counters } = namespace;
  if (outcome.kind === 'miss') counters.misses += 1;
  else if (outcome.kind === 'bypass') counters.bypassed += 1;
  else if (outcome.kind === 'failed') counters.failed += 1;
  else counters[COUNTER[outcome.from]] += 1;
}

const COUNTER = {
  l1: 'hitsL1',
  l2: 'hitsL2',
  coalesced: 'hitsCoalesced',
  loaded: 'loaded',
  passed: 'passed',
  stale: 'hitsStale',
  grace: 'hitsGrace',
  pending: 'hitsPending',
} as const satisfies Record<ValueFrom, keyof Namespace['counters']>;
