import type { Entry } from '@tidemark/proto';
import { parseHeader } from '@tidemark/proto/redis';
import { count, type Coalescer } from './coalescer.ts';
import { decideL2, decideUnlogged, type L2Refusal } from './decide.ts';
import type { Flight, Outcome, Waiter } from './flights.ts';
import { cutTimes, USUAL, worthOf, type Accepts } from './freshness.ts';
import type { Lease } from './leases.ts';
import type { Namespace } from './namespace.ts';
import type { Clock, L2Failure, L2Found, L2Store, UnloggedFound } from './ports.ts';
import type { Promoter } from './promoter.ts';
import type { ReplicaView } from './replica.ts';
import { standIn } from './stand-in.ts';

/**
 * `usual`: a caller that loads what is missing. `reload`: wants a lease whatever is cached (`no-cache`).
 * `only-cached`: would not load, so it neither takes the lease nor waits for another caller's fill.
 */
export type ReadMode = 'usual' | 'reload' | 'only-cached';

export interface ReadRequest {
  readonly namespace: Namespace;
  readonly key: string;
  readonly mode: ReadMode;
  /** What of the cache the caller takes; the usual where it does not say. */
  readonly accepts?: Accepts;
  /** Called exactly once, at once or later, unless the caller leaves before. */
  readonly settle: (outcome: Outcome) => void;
}

/** Why a candidate from Redis was not served, or that Redis could not be asked. */
export type L2Miss = L2Refusal | L2Failure | 'absent';

/** Answers reads from L1, else from Redis, else by the namespace's loader, else with a miss (SPEC I4 to I7, I9). */
export class Reader {
  readonly l2Misses = new Map<L2Miss, number>();
  readonly #replica: ReplicaView;
  readonly #coalescer: Coalescer;
  readonly #l2: L2Store | undefined;
  readonly #clock: Clock;
  readonly #promoter: Promoter | undefined;

  constructor(options: {
    replica: ReplicaView;
    coalescer: Coalescer;
    l2: L2Store | undefined;
    clock: Clock;
    promoter?: Promoter | undefined;
  }) {
    this.#replica = options.replica;
    this.#coalescer = options.coalescer;
    this.#l2 = options.l2;
    this.#clock = options.clock;
    this.#promoter = options.promoter;
  }

  /** A handle to {@link leave} with, or undefined when the read was settled at once. */
  read(request: ReadRequest): Waiter | undefined {
    const { namespace, key, mode, accepts = USUAL } = request;
    if (--namespace.hot.countdown < 0) namespace.hot.sample(key);
    const why = this.#coalescer.bypass(namespace);
    if (why !== undefined) return finish(request, { kind: 'bypass', why });
    if (mode === 'reload') return this.#reload(request);
    const pending = namespace.pending?.get(key);
    if (pending !== undefined)
      return finish(
        request,
        accepts.grace ? { kind: 'value', entry: pending, from: 'pending' } : { kind: 'bypass', why: 'pending' },
      );
    const wallMs = this.#clock.wallMs();
    const entry = namespace.l1.get(key);
    const worth = entry && worthOf(entry, accepts, wallMs);
    if (entry !== undefined && (worth === 'fresh' || worth === 'aging')) {
      const refresh = worth === 'aging' && mode === 'usual' ? this.#refresh(namespace, key) : undefined;
      return finish(request, { kind: 'value', entry, from: 'l1', ...(refresh && { refresh }) });
    }
    const old = standIn(namespace, key, { accepts, wallMs, failed: false });
    if (old?.kind === 'value')
      return finish(request, { ...old, refresh: mode === 'usual' ? this.#refresh(namespace, key) : undefined });
    // Redis has nothing younger or fresher than what is here.
    if (entry !== undefined && entry.expiresAtMs > wallMs && mode === 'usual') return this.#reload(request);
    const flight = namespace.flights.get(key);
    if (flight !== undefined) return this.#follow(request, flight, entry !== undefined);
    // How old a value of Redis is would only be known when it is there.
    const isPicky = accepts.maxAgeMs < Number.POSITIVE_INFINITY || accepts.minFreshMs > 0;
    if (namespace.config.l2.enabled && this.#l2?.available === true && !isPicky) return this.#askL2(request, this.#l2);
    return this.#miss(request, entry !== undefined);
  }

  /** The caller wants what the origin has. */
  #reload(request: ReadRequest): Waiter | undefined {
    const { namespace, key } = request;
    const flight = namespace.flights.get(key);
    if (namespace.loads(key)) return this.#load(request, flight);
    return finish(
      request,
      flight === undefined ? this.#coalescer.missAsHolder(namespace, key) : this.#coalescer.missAlone(namespace, key),
    );
  }

  /** Nobody is getting it. */
  #miss(request: ReadRequest, stale: boolean): Waiter | undefined {
    const { namespace, key, mode } = request;
    if (mode === 'only-cached') return finish(request, { kind: 'miss', lease: undefined, ...(stale && { stale }) });
    if (namespace.loads(key)) return this.#load(request, undefined);
    const miss = this.#coalescer.missAsHolder(namespace, key);
    return finish(request, stale && miss.kind === 'miss' ? { ...miss, stale } : miss);
  }

  #load(request: ReadRequest, present: Flight | undefined): Waiter | undefined {
    const { namespace, key } = request;
    const flight = present ?? namespace.flights.open(key);
    const waiter = this.#join(request, flight);
    if (waiter === undefined) {
      if (present === undefined) namespace.flights.close(flight);
      return this.#crowdedOut(request);
    }
    if (present === undefined) this.#coalescer.load(namespace, flight);
    return waiter;
  }

  /**
   * The value that is answered should be loaded anew, once. Where the namespace has a loader, the sidecar does; else the caller gets a
   * lease to do so when it likes.
   */
  #refresh(namespace: Namespace, key: string): Lease | undefined {
    const flight = namespace.flights.get(key);
    if (flight !== undefined && (namespace.loads(key) || !this.#coalescer.isOverdue(flight)))
      return undefined;
    namespace.counters.refreshes += 1;
    if (namespace.loads(key)) {
      this.#coalescer.load(namespace, namespace.flights.open(key));
      return undefined;
    }
    const miss = this.#coalescer.missAsHolder(namespace, key, flight);
    return miss.kind === 'miss' ? miss.lease : undefined;
  }

  leave(waiter: Waiter): void {
    this.#coalescer.leave(waiter);
  }

  #follow(request: ReadRequest, flight: Flight, stale: boolean): Waiter | undefined {
    const { namespace, key, mode } = request;
    if (mode === 'only-cached' && flight.lease !== undefined)
      return finish(request, { kind: 'miss', lease: undefined, ...(stale && { stale }) });
    if (!namespace.loads(key) && this.#coalescer.isOverdue(flight))
      return finish(request, this.#coalescer.missAsHolder(namespace, key, flight));
    return this.#join(request, flight) ?? this.#crowdedOut(request);
  }

  #askL2(request: ReadRequest, l2: L2Store): Waiter | undefined {
    const { namespace, key } = request;
    const flight = namespace.flights.open(key);
    const waiter = this.#join(request, flight);
    if (waiter === undefined) {
      namespace.flights.close(flight);
      return this.#crowdedOut(request);
    }
    if (namespace.rules === undefined) {
      void l2.readPlain(namespace.name, key).then((found) => this.#onPlain(namespace, flight, found));
    } else {
      void l2.read(namespace.rules, key).then((found) => this.#onL2(namespace, flight, found));
    }
    return waiter;
  }

  #join(request: ReadRequest, flight: Flight): Waiter | undefined {
    const { namespace, mode, settle, accepts = USUAL } = request;
    return this.#coalescer.join(namespace, flight, { settle, accepts, wantsLease: mode !== 'only-cached' });
  }

  #crowdedOut(request: ReadRequest): undefined {
    const { namespace, key, mode } = request;
    if (mode === 'only-cached') finish(request, { kind: 'miss', lease: undefined });
    else if (!namespace.loads(key)) finish(request, this.#coalescer.missAlone(namespace, key));
    else finish(request, { kind: 'failed', why: 'busy', detail: 'too many requests wait for values' });
  }

  /** Runs in one tick: what is checked here cannot become stale before it is stored and served. */
  #onL2(namespace: Namespace, flight: Flight, found: L2Found | UnloggedFound | L2Failure): void {
    const { rules } = namespace;
    if (rules === undefined || namespace.flights.get(flight.key) !== flight) return;
    if (typeof found === 'string') this.#countL2(found);
    else if (found.entry === undefined) this.#countL2('absent');
    else {
      const entry = cutTimes(found.entry, namespace.config.ttl);
      const candidate = { entry, namespace: rules, key: flight.key, wallMs: this.#clock.wallMs() };
      const refusal =
        found.context === undefined
          ? decideUnlogged(this.#replica, candidate)
          : decideL2(this.#replica, { ...candidate, context: found.context, generation: found.generation });
      if (refusal === undefined) {
        this.#keep(namespace, flight, entry);
        const log =
          this.#promoter && entry === found.entry && entry.tags.length > 0
            ? parseHeader(found.context?.log ?? '')
            : undefined;
        if (log !== undefined && found.context !== undefined)
          this.#promoter?.wasRead(namespace, flight.key, { found, log });
        return;
      }
      this.#countL2(refusal);
      // Nothing has changed it, so it may stand in for one that cannot be loaded.
      if (refusal === 'expired' && entry.keepUntilMs > this.#clock.wallMs()) namespace.l1.set(flight.key, entry);
    }
    this.#coalescer.handOver(namespace, flight);
  }

  #onPlain(namespace: Namespace, flight: Flight, found: Entry | undefined | L2Failure): void {
    if (namespace.flights.get(flight.key) !== flight) return;
    if (typeof found === 'string') this.#countL2(found);
    else if (found === undefined) this.#countL2('absent');
    else {
      const entry = cutTimes(found, namespace.config.ttl);
      if (entry.expiresAtMs > this.#clock.wallMs()) {
        this.#keep(namespace, flight, entry);
        return;
      }
      this.#countL2('expired');
    }
    this.#coalescer.handOver(namespace, flight);
  }

  #keep(namespace: Namespace, flight: Flight, entry: Entry): void {
    namespace.l1.set(flight.key, entry);
    namespace.grace?.delete(flight.key);
    this.#coalescer.stored(namespace, flight.key, { entry, from: 'l2' });
  }

  #countL2(miss: L2Miss): void {
    this.l2Misses.set(miss, (this.l2Misses.get(miss) ?? 0) + 1);
  }
}

function finish(request: ReadRequest, outcome: Outcome): undefined {
  count(request.namespace, outcome);
  request.settle(outcome);
}
