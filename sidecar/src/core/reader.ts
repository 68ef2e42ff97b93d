import type { Entry } from '@tidemark/proto';
import type { Coalescer } from './coalescer.ts';
import type { Flight, Outcome, ValueOutcome, Waiter } from './flights.ts';
import { USUAL, worthOf, type Accepts } from './freshness.ts';
import type { L2Look, L2Miss } from './l2-look.ts';
import type { Namespace } from './namespace.ts';
import type { Clock, Random } from './ports.ts';
import { standIn } from './stand-in.ts';
import { count } from './waiters.ts';

/**
 * `usual`: a caller that loads what is missing. `reload`: wants what the origin has, or a lease, whatever is cached (`no-cache`).
 * `only-cached`: would not load, so it neither takes the lease nor waits for another caller's fill. `nothing`: would not load and takes
 * nothing that is cached, so it only asks whether the cache works.
 */
export type ReadMode = 'usual' | 'reload' | 'only-cached' | 'nothing';

/** What a request wants. @param onlyCached it would not load */
export function modeOf({ noCache, onlyCached }: { noCache: boolean; onlyCached: boolean }): ReadMode {
  if (onlyCached) return noCache ? 'nothing' : 'only-cached';
  return noCache ? 'reload' : 'usual';
}

/** Whether what is missing may be got for such a request. */
export function mayLoad(mode: ReadMode): boolean {
  return mode === 'usual' || mode === 'reload';
}

export interface ReadRequest {
  readonly namespace: Namespace;
  readonly key: string;
  readonly mode: ReadMode;
  /** What of the cache the caller takes; the usual where it does not say. */
  readonly accepts?: Accepts;
  /** Called exactly once, at once or later, unless the caller leaves before. */
  readonly settle: (outcome: Outcome) => void;
}

/** Answers reads from L1, else from Redis, else by the namespace's loader, else with a miss (SPEC I4 to I7, I9). */
export class Reader {
  readonly #coalescer: Coalescer;
  readonly #look: L2Look;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(options: { coalescer: Coalescer; look: L2Look; clock: Clock; random: Random }) {
    this.#coalescer = options.coalescer;
    this.#look = options.look;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  get l2Misses(): ReadonlyMap<L2Miss, number> {
    return this.#look.misses;
  }

  /** A handle to {@link leave} with, or undefined when the read was settled at once. */
  read(request: ReadRequest): Waiter | undefined {
    const { namespace, key, mode, accepts = USUAL } = request;
    if (--namespace.hot.countdown < 0) namespace.hot.sample(key);
    const why = this.#coalescer.bypass(namespace);
    if (why !== undefined) return finish(request, { kind: 'bypass', why });
    if (mode === 'nothing') return finish(request, { kind: 'miss', lease: undefined });
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
      const isDue = mode === 'usual' && (worth === 'aging' || this.#isDueEarly(namespace, entry, wallMs));
      return this.#answer(request, { kind: 'value', entry, from: 'l1' }, isDue);
    }
    const old = standIn(namespace, key, { accepts, wallMs, failed: false });
    if (old !== undefined) return this.#answer(request, old, mode === 'usual');
    return this.#forward(entry === undefined ? request : told(request, entry.freshUntilMs > wallMs), entry);
  }

  /** Nothing that is here may answer it. */
  #forward(request: ReadRequest, entry: Entry | undefined): Waiter | undefined {
    const { namespace, key, mode, accepts = USUAL } = request;
    // Redis has nothing younger or fresher than what is here.
    if (entry !== undefined && entry.expiresAtMs > this.#clock.wallMs() && mode === 'usual')
      return this.#reload(request);
    // How old a value of Redis is would only be known when it is there, so who says how old it may be does not wait for that.
    const isPicky = accepts.maxAgeMs < Number.POSITIVE_INFINITY || accepts.minFreshMs > 0;
    const flight = namespace.flights.get(key);
    const isPassedBy = isPicky && flight?.lease === undefined && flight?.seeking === false;
    if (flight !== undefined && !isPassedBy) return this.#follow(request, flight);
    if (flight !== undefined && mode === 'usual') return this.#reload({ ...request, mode: 'reload' });
    if (this.#look.available(namespace) && !isPicky) return this.#askL2(request);
    return this.#miss(request);
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
  #miss(request: ReadRequest): Waiter | undefined {
    const { namespace, key, mode } = request;
    if (mode === 'only-cached') return finish(request, { kind: 'miss', lease: undefined });
    if (namespace.loads(key)) return this.#load(request, undefined);
    if (this.#coalescer.isUnsettled(namespace, key)) {
      const flight = namespace.flights.open(key);
      const waiter = this.#join(request, flight);
      if (waiter !== undefined) this.#coalescer.clear(namespace, flight);
      else namespace.flights.close(flight);
      return waiter ?? this.#crowdedOut(request);
    }
    return finish(request, this.#coalescer.missAsHolder(namespace, key));
  }

  #load(request: ReadRequest, present: Flight | undefined): Waiter | undefined {
    const { namespace, key } = request;
    const flight = present ?? namespace.flights.open(key);
    const waiter = this.#join(request, flight);
    if (waiter === undefined) {
      if (present === undefined) namespace.flights.close(flight);
      return this.#crowdedOut(request);
    }
    if (present === undefined) this.#coalescer.clear(namespace, flight);
    return waiter;
  }

  /**
   * Answers a value, which should be loaded anew where that is due: once, and by one sidecar alone. Where the namespace has a loader,
   * the sidecar does in the background; else the caller gets a lease with the value, for which it waits until the others have agreed.
   */
  #answer(request: ReadRequest, held: ValueOutcome, isDue: boolean): Waiter | undefined {
    const { namespace, key } = request;
    const flight = isDue ? namespace.flights.get(key) : undefined;
    const loads = namespace.loads(key);
    if (!isDue || (flight !== undefined && (loads || !this.#coalescer.isOverdue(flight)))) return finish(request, held);
    namespace.counters.refreshes += 1;
    if (loads) {
      this.#coalescer.background(namespace, key);
      return finish(request, held);
    }
    if (flight === undefined && this.#coalescer.isShared(namespace)) {
      const opened = namespace.flights.open(key);
      const waiter = this.#join(request, opened, true);
      if (waiter !== undefined) {
        this.#coalescer.handOver(namespace, opened);
        return waiter;
      }
      namespace.flights.close(opened);
    }
    const miss = this.#coalescer.missAsHolder(namespace, key, flight);
    return finish(request, { ...held, refresh: miss.kind === 'miss' ? miss.lease : undefined });
  }

  /**
   * XFetch (Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015): the nearer the end and the
   * longer a load takes, the likelier a hit is to begin one, so that one of many readers does shortly before all would miss.
   */
  #isDueEarly(namespace: Namespace, entry: Entry, wallMs: number): boolean {
    if (entry.freshUntilMs - namespace.earlyReach * entry.loadMs > wallMs) return false;
    const aheadMs = entry.loadMs * namespace.config.refresh.early * -Math.log(1 - this.#random.fraction());
    return wallMs + aheadMs >= entry.freshUntilMs;
  }

  leave(waiter: Waiter): void {
    this.#coalescer.leave(waiter);
  }

  #follow(request: ReadRequest, flight: Flight): Waiter | undefined {
    const { namespace, key, mode } = request;
    if (mode === 'only-cached' && (flight.lease !== undefined || flight.seeking || flight.loads > 0))
      return finish(request, { kind: 'miss', lease: undefined });
    if (!namespace.loads(key) && this.#coalescer.isOverdue(flight))
      return finish(request, this.#coalescer.missAsHolder(namespace, key, flight));
    return this.#join(request, flight) ?? this.#crowdedOut(request);
  }

  #askL2(request: ReadRequest): Waiter | undefined {
    const { namespace, key } = request;
    const flight = namespace.flights.open(key);
    const waiter = this.#join(request, flight);
    if (waiter === undefined) {
      namespace.flights.close(flight);
      return this.#crowdedOut(request);
    }
    this.#look.look(namespace, flight, (seen) => {
      if (seen !== 'served' && seen !== 'gone') this.#coalescer.handOver(namespace, flight);
    });
    return waiter;
  }

  #join(request: ReadRequest, flight: Flight, refreshes = false): Waiter | undefined {
    const { namespace, mode, settle, accepts = USUAL } = request;
    return this.#coalescer.join(namespace, flight, {
      ...{ settle, accepts, refreshes, insists: mode === 'reload' },
      role: mode === 'only-cached' ? 'onlooker' : 'caller',
    });
  }

  #crowdedOut(request: ReadRequest): undefined {
    const { namespace, key, mode } = request;
    if (mode === 'only-cached') finish(request, { kind: 'miss', lease: undefined });
    else if (!namespace.loads(key)) finish(request, this.#coalescer.missAlone(namespace, key));
    else finish(request, { kind: 'failed', why: 'busy', detail: 'too many requests wait for values' });
  }
}

/** How it ends tells why it was not answered by the value that is here. */
function told(request: ReadRequest, isFresh: boolean): ReadRequest {
  const { settle } = request;
  const forward = isFresh ? 'request' : 'stale';
  return { ...request, settle: (outcome) => settle({ ...outcome, forward }) };
}

function finish(request: ReadRequest, outcome: Outcome): undefined {
  count(request.namespace, outcome);
  request.settle(outcome);
}
