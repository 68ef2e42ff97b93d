import type { Entry } from '@tidemark/proto';
import { parseHeader } from '@tidemark/proto/redis';
import type { Coalescer } from './coalescer.ts';
import { decideL2, decideUnlogged, type L2Refusal } from './decide.ts';
import type { Flight } from './flights.ts';
import { cutTimes } from './freshness.ts';
import type { Namespace } from './namespace.ts';
import type { Clock, L2Failure, L2Found, L2Store, UnloggedFound } from './ports.ts';
import type { Promoter } from './promoter.ts';
import type { ReplicaView } from './replica.ts';

/** Why a candidate from L2 was not served, or that L2 could not be asked. */
export type L2Miss = L2Refusal | L2Failure | 'absent';

/** What L2 had for a flight: `served` ended it, `gone` means that something else did meanwhile. */
export type Seen = 'served' | 'nothing' | 'gone' | L2Failure;

/** Looks up in L2 what flights are about, and serves it if it may be served (SPEC I6, I7, I17). */
export class L2Look {
  readonly misses = new Map<L2Miss, number>();
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

  /** Whether there is a point in asking. */
  available(namespace: Namespace): boolean {
    return namespace.config.l2.enabled && this.#l2?.available === true;
  }

  /** `then` is told in the tick in which a value was served or passed over; later than this call. Only where it is available. */
  look(namespace: Namespace, flight: Flight, then: (seen: Seen) => void): void {
    const { rules, name } = namespace;
    const { key, loads } = flight;
    // A load that has begun meanwhile gets it.
    const tell = (seen: Seen): void => then(seen !== 'served' && flight.loads > loads ? 'gone' : seen);
    if (rules === undefined) {
      void this.#l2?.readPlain(name, key).then((found) => tell(this.#onPlain(namespace, flight, found)));
    } else {
      void this.#l2?.read(rules, key).then((found) => tell(this.#onFound(namespace, flight, found)));
    }
  }

  /** Runs in one tick: what is checked here cannot become stale before it is stored and served. */
  #onFound(namespace: Namespace, flight: Flight, found: L2Found | UnloggedFound | L2Failure): Seen {
    const { rules } = namespace;
    if (rules === undefined || namespace.flights.get(flight.key) !== flight) return 'gone';
    if (typeof found === 'string') return this.#missed(found);
    if (found.entry === undefined) return this.#missed('absent');
    const entry = cutTimes(found.entry, namespace.config.ttl);
    const candidate = { entry, namespace: rules, key: flight.key, wallMs: this.#clock.wallMs() };
    const refusal =
      found.context === undefined
        ? decideUnlogged(this.#replica, candidate)
        : decideL2(this.#replica, { ...candidate, context: found.context, generation: found.generation });
    if (refusal !== undefined) {
      // Nothing has changed it, so it may stand in for one that cannot be loaded.
      const present = namespace.l1.get(flight.key);
      const isNewer = present === undefined || present.storedAtMs < entry.storedAtMs;
      if (refusal === 'expired' && entry.keepUntilMs > candidate.wallMs && isNewer) namespace.l1.set(flight.key, entry);
      return this.#missed(refusal);
    }
    if (!this.#isNews(namespace, flight, entry)) return 'nothing';
    this.#keep(namespace, flight, entry);
    const isWhole = entry === found.entry && entry.tags.length > 0;
    const log = this.#promoter && isWhole ? parseHeader(found.context?.log ?? '') : undefined;
    if (log !== undefined && found.context !== undefined)
      this.#promoter?.wasRead(namespace, flight.key, { found, log });
    return 'served';
  }

  #onPlain(namespace: Namespace, flight: Flight, found: Entry | undefined | L2Failure): Seen {
    if (namespace.flights.get(flight.key) !== flight) return 'gone';
    if (typeof found === 'string') return this.#missed(found);
    if (found === undefined) return this.#missed('absent');
    const entry = cutTimes(found, namespace.config.ttl);
    if (entry.expiresAtMs <= this.#clock.wallMs()) return this.#missed('expired');
    if (!this.#isNews(namespace, flight, entry)) return 'nothing';
    this.#keep(namespace, flight, entry);
    return 'served';
  }

  /** Where there is a value already, it is to be loaded anew: one that was stored before it, or is as old, is no help. */
  #isNews({ l1 }: Namespace, { key }: Flight, entry: Entry): boolean {
    const wallMs = this.#clock.wallMs();
    const present = l1.get(key);
    if (present === undefined || present.expiresAtMs <= wallMs) return true;
    return entry.storedAtMs > present.storedAtMs && entry.freshUntilMs > wallMs;
  }

  #keep(namespace: Namespace, flight: Flight, entry: Entry): void {
    namespace.l1.set(flight.key, entry);
    namespace.grace?.delete(flight.key);
    this.#coalescer.stored(namespace, flight.key, { entry, from: 'l2' });
  }

  #missed(why: L2Miss): Seen {
    this.misses.set(why, (this.misses.get(why) ?? 0) + 1);
    return why === 'away' || why === 'lost' ? why : 'nothing';
  }
}
