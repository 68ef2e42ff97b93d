import type { CompiledRules, TidemarkConfig } from '@tidemark/proto';
import type { MemcachedClient } from '@tidemark/runtime';
import { MemcachedStore } from '../../../sidecar/src/adapters/memcached/store.ts';
import { Clearance } from '../../../sidecar/src/core/clearance.ts';
import { Coalescer } from '../../../sidecar/src/core/coalescer.ts';
import { Evictor } from '../../../sidecar/src/core/evictor.ts';
import { Filler } from '../../../sidecar/src/core/filler.ts';
import { L2Look } from '../../../sidecar/src/core/l2-look.ts';
import { Leases } from '../../../sidecar/src/core/leases.ts';
import { Namespace } from '../../../sidecar/src/core/namespace.ts';
import type { L1Store, L2Store } from '../../../sidecar/src/core/ports.ts';
import { Reader } from '../../../sidecar/src/core/reader.ts';
import { SourceReplica, type ReplicaView } from '../../../sidecar/src/core/replica.ts';
import { Restamper } from '../../../sidecar/src/core/restamper.ts';
import { countingRandom, ManualClock, MapStore } from '../../../sidecar/src/testing/fakes.ts';
import type { Dice } from '../../../sidecar/src/testing/random.ts';
import { recordOf, type Database } from '../database.ts';
import { brokenView } from '../parts/broken.ts';
import { clientOf, lost, type MemcachedModel } from './memcached.ts';

/** One guard that is missing. */
export interface Mutant {
  /** What the reader sees of the replica. */
  readonly view?: Partial<ReplicaView>;
  /** What the restamper sees of the replica. */
  readonly restampView?: Partial<ReplicaView>;
  readonly client?: (client: MemcachedClient) => MemcachedClient;
  readonly store?: (store: L2Store, replica: SourceReplica) => L2Store;
  readonly l1?: () => L1Store;
}

export interface UnloggedOptions {
  readonly dice: Dice;
  readonly database: Database;
  readonly memcached: MemcachedModel;
  readonly rules: CompiledRules;
  readonly config: TidemarkConfig;
  readonly mutant: Mutant;
}

const SLOW_MS = 600_000;

/**
 * The real core of a sidecar and its real store, over a memcached whose commands are done, answered and lost when the dice say so.
 * It lags behind the stream as they say.
 */
export class UnloggedSidecar {
  readonly clock = new ManualClock();
  readonly reader: Reader;
  readonly filler: Filler;
  readonly coalescer: Coalescer;
  readonly replica: SourceReplica;
  readonly #restamper: Restamper;
  readonly #options: UnloggedOptions;
  readonly #namespaces: ReadonlyMap<string, Namespace>;
  readonly #work: (() => void)[] = [];
  #offset: number;

  constructor(options: UnloggedOptions) {
    const { dice, database, rules, config, memcached, mutant } = options;
    this.#options = options;
    const namespaces = rules.namespaces.map((each) => {
      const of = config.namespaces[each.name] as Namespace['config'];
      const l1 = mutant.l1?.() ?? new MapStore();
      return new Namespace({ name: each.name, config: of, rules: each, l1 });
    });
    this.#namespaces = new Map(namespaces.map((each) => [each.name, each]));
    const [clock, random] = [this.clock, countingRandom(dice)];
    const replica = new SourceReplica({ rules, evict: new Evictor(namespaces), maxStalenessMs: SLOW_MS });
    this.replica = replica;
    const leases = new Leases({ ttlMs: SLOW_MS, most: 100 });
    const limits = { waitMs: 2_000, waiters: 5, waitersPerKey: 3 };
    const coalescer = new Coalescer({ namespaces, replica, leases, clock, random, limits });
    this.coalescer = coalescer;
    const client = clientOf(memcached, (work) => this.#later(work));
    const store = new MemcachedStore({
      client: mutant.client?.(client) ?? client,
      source: 'main',
      packing: () => ({ compressOverBytes: Infinity, chunkBytes: Infinity, maxItemBytes: 1_000 }),
      deadlineMs: SLOW_MS,
      maxValueBytes: 1_000,
      clock,
      onLatency: () => undefined,
    });
    const l2 = mutant.store?.(store, replica) ?? store;
    const look = new L2Look({ replica: brokenView(replica, mutant.view), coalescer, l2, clock });
    void new Clearance({ replica, coalescer, look, l2, clock, random, waitMs: 2_000 });
    this.reader = new Reader({ coalescer, look, clock, random });
    this.filler = new Filler({ replica, leases, coalescer, l2, clock, random });
    const seen = brokenView(replica, mutant.restampView);
    this.#restamper = new Restamper({ l2, coalescer, replica: seen, clock });
    this.#offset = database.topic.length - 1;
  }

  namespace(name: string): Namespace {
    return this.#namespaces.get(name) as Namespace;
  }

  /** Something happens to it that callers do not see. */
  step(): void {
    const { dice, database } = this.#options;
    const roll = dice.below(100);
    if (roll < 25) this.#hear();
    else if (roll < 88) dice.draw(this.#work)?.();
    else if (roll < 96) {
      this.clock.advance(dice.below(30_000));
      this.#restamper.sweep(this.#namespaces.values());
    } else if (roll < 98) for (const { l1 } of this.#namespaces.values()) l1.clear();
    else if (roll < 99) this.#offset = Math.min(this.#offset + 1 + dice.below(2), database.topic.length);
    else if (dice.chance(0.2)) {
      this.replica.lost();
      this.coalescer.settleDoomed();
      this.#offset = database.topic.length - 1;
    }
  }

  #hear(): void {
    const batch = this.#options.database.topic[this.#offset];
    if (batch === undefined) return;
    this.#offset += 1;
    this.replica.observe(recordOf(batch));
    this.replica.heard(this.clock.monotonicMs());
    this.coalescer.settleDoomed();
  }

  #later<T>(work: () => T): Promise<T> {
    const { dice } = this.#options;
    return new Promise((resolve, reject) => {
      const begin = (): void => {
        if (dice.chance(0.03)) return reject(lost());
        const answer = work();
        const isLost = dice.chance(0.03);
        this.#work.push(() => (isLost ? reject(lost()) : resolve(answer)));
      };
      this.#work.push(begin);
    });
  }
}
