import type { CompiledRules, Entry, NamespaceRules, TidemarkConfig } from '@tidemark/proto';
import { Coalescer } from '../../sidecar/src/core/coalescer.ts';
import { Evictor } from '../../sidecar/src/core/evictor.ts';
import { Filler } from '../../sidecar/src/core/filler.ts';
import type { Outcome } from '../../sidecar/src/core/flights.ts';
import { Leases } from '../../sidecar/src/core/leases.ts';
import { Namespace } from '../../sidecar/src/core/namespace.ts';
import type { L2FillResult, L2Found, L2Store } from '../../sidecar/src/core/ports.ts';
import { Reader } from '../../sidecar/src/core/reader.ts';
import { SourceReplica, type EvictionTarget, type ReplicaView } from '../../sidecar/src/core/replica.ts';
import { recordOf, type Database } from './database.ts';
import { countingRandom, ManualClock, MapStore } from '../../sidecar/src/testing/fakes.ts';
import type { L2Model } from './l2-model.ts';
import type { Dice } from '../../sidecar/src/testing/random.ts';

/** Ways to leave out one guard; a simulation that cannot find the hole is worth nothing. */
export interface Sabotage {
  readonly evictions?: (target: EvictionTarget) => EvictionTarget;
  /** What leases are granted by. */
  readonly granting?: (replica: SourceReplica) => Partial<ReplicaView>;
  /** What fills are checked against. */
  readonly filling?: (replica: SourceReplica) => Partial<ReplicaView>;
  /** What entries from Redis are checked against. */
  readonly reading?: (replica: SourceReplica) => Partial<ReplicaView>;
  /** What Redis answers. */
  readonly found?: (found: L2Found, replica: SourceReplica) => L2Found;
  /** Takes a gap for the next record. */
  readonly ignoreGaps?: boolean;
}

/** How many values were served, by where they came from. */
export type Served = Record<'l1' | 'l2' | 'coalesced', number>;

interface LoadInProgress {
  readonly namespace: Namespace;
  readonly key: string;
  readonly token: string;
  readonly loaded?: { readonly body: Uint8Array; readonly tags: readonly string[] };
}

/** Where a key's value comes from. */
export interface KeySpec {
  readonly namespace: string;
  readonly key: string;
  readonly rows: readonly string[];
  readonly tags: readonly string[];
}

/** The real core of a sidecar with everything around it in the hands of the dice. */
export class SimSidecar {
  readonly clock = new ManualClock();
  readonly #dice: Dice;
  readonly #database: Database;
  readonly #l2: L2Model;
  readonly #sabotage: Sabotage;
  readonly #namespaces: readonly Namespace[];
  readonly #replica: SourceReplica;
  readonly #coalescer: Coalescer;
  readonly #reader: Reader;
  readonly #filler: Filler;
  readonly #redisWork: (() => void)[] = [];
  readonly #loads: LoadInProgress[] = [];
  readonly #keys: readonly KeySpec[];
  #offset: number;
  /** Values served that lack a change which was applied here. */
  readonly stale: string[] = [];
  readonly #served: Served;

  constructor(options: {
    dice: Dice;
    database: Database;
    l2: L2Model;
    rules: CompiledRules;
    config: TidemarkConfig;
    keys: readonly KeySpec[];
    sabotage: Sabotage;
    served: Served;
  }) {
    const { dice, database, rules, config, sabotage } = options;
    this.#dice = dice;
    this.#database = database;
    this.#l2 = options.l2;
    this.#keys = options.keys;
    this.#sabotage = sabotage;
    this.#served = options.served;
    this.#namespaces = rules.namespaces.map(
      (each) =>
        new Namespace({
          name: each.name,
          config: config.namespaces[each.name] as Namespace['config'],
          rules: each,
          l1: new MapStore(),
        }),
    );
    const evictor = new Evictor(this.#namespaces);
    this.#replica = new SourceReplica({
      rules,
      evict: sabotage.evictions?.(evictor) ?? evictor,
      maxStalenessMs: 60_000,
      // So few that names collide now and then.
      fenceSlots: { keySlots: 32, tagSlots: 32 },
    });
    const clock = this.clock;
    const random = countingRandom(dice);
    const leases = new Leases({ ttlMs: 10_000, most: 100 });
    const limits = { waitMs: 2_000, waiters: 5, waitersPerKey: 3 };
    this.#coalescer = new Coalescer({
      namespaces: this.#namespaces,
      replica: this.#view('granting'),
      leases,
      clock,
      random,
      limits,
    });
    const l2 = this.#store();
    this.#reader = new Reader({ replica: this.#view('reading'), coalescer: this.#coalescer, l2, clock });
    this.#filler = new Filler({
      replica: this.#view('filling'),
      leases,
      coalescer: this.#coalescer,
      l2,
      clock,
      random,
    });
    this.#offset = database.topic.length - 1;
  }

  step(): void {
    const roll = this.#dice.below(100);
    if (roll < 20) this.#hear();
    else if (roll < 40) this.#get();
    else if (roll < 66) this.#advanceLoad();
    else if (roll < 96) this.#dice.draw(this.#redisWork)?.();
    else if (roll < 98) this.clock.advance(this.#dice.below(1_500));
    else this.#loseRecords();
  }

  #hear(): void {
    const batch = this.#database.topic[this.#offset];
    if (batch === undefined) return;
    this.#offset += 1;
    const from =
      this.#sabotage.ignoreGaps === true
        ? Math.min(batch.from, Math.max(this.#replica.applied, batch.commits.length > 0 ? 0 : batch.from))
        : batch.from;
    this.#replica.observe(recordOf({ ...batch, from }));
    this.#replica.heard(this.clock.monotonicMs());
    this.#coalescer.settleDoomed();
  }

  #loseRecords(): void {
    const roll = this.#dice.below(5);
    if (roll === 0) this.#skip();
    else if (roll === 1) this.#reset();
  }

  /** Kafka has dropped records that were not read yet. */
  #skip(): void {
    this.#offset = Math.min(this.#offset + 1 + this.#dice.below(3), this.#database.topic.length);
  }

  /** The reader lost its place and says so. */
  #reset(): void {
    this.#replica.lost();
    this.#coalescer.settleDoomed();
    this.#offset = this.#database.topic.length - 1;
  }

  #get(): void {
    const spec = this.#dice.pick(this.#keys);
    const namespace = this.#namespaces.find(({ name }) => name === spec.namespace) as Namespace;
    const mode = this.#dice.chance(0.1) ? 'reload' : this.#dice.chance(0.1) ? 'only-cached' : 'usual';
    const waiter = this.#reader.read({
      namespace,
      key: spec.key,
      mode,
      settle: (outcome) => this.#settled(spec, namespace, outcome),
    });
    if (waiter !== undefined && this.#dice.chance(0.1)) this.#reader.leave(waiter);
  }

  #settled(spec: KeySpec, namespace: Namespace, outcome: Outcome): void {
    if (outcome.kind === 'value') this.#check(spec, outcome.entry, outcome.from);
    else if (outcome.kind === 'miss' && outcome.lease !== undefined) {
      this.#loads.push({ namespace, key: spec.key, token: outcome.lease.token });
    }
  }

  #check(spec: KeySpec, entry: Entry, from: keyof Served): void {
    this.#served[from] += 1;
    spec.rows.forEach((row, i) => {
      const least = this.#database.leastVersion(row, this.#replica);
      const found = entry.body[i] as number;
      // Versions fit a byte: a history has fewer changes.
      if (found < least)
        this.stale.push(`${spec.key} from ${from}: row ${row} at version ${found}, ${least} was applied`);
    });
  }

  /** A caller reads the database, or comes back with what it read some time ago. */
  #advanceLoad(): void {
    const load = this.#dice.draw(this.#loads);
    if (load === undefined) return;
    const spec = this.#keys.find(
      ({ key, namespace }) => key === load.key && namespace === load.namespace.name,
    ) as KeySpec;
    if (load.loaded === undefined) {
      const loaded = { body: Uint8Array.from(spec.rows.map((row) => this.#database.read(row))), tags: spec.tags };
      this.#loads.push({ ...load, loaded });
    } else {
      const { namespace, key, token, loaded } = load;
      this.#filler.fill({ namespace, key, token, ...loaded, absent: false, contentType: '', etag: '' });
    }
  }

  #view(part: 'granting' | 'filling' | 'reading'): ReplicaView {
    const replica = this.#replica;
    const broken = this.#sabotage[part]?.(replica);
    if (broken === undefined) return replica;
    return new Proxy(replica, {
      get: (target, name) => {
        const value: unknown = name in broken ? Reflect.get(broken, name) : Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  /** Each command reaches Redis at some time, and its answer comes back at some later time. */
  #store(): L2Store {
    const later = <T>(work: () => T): Promise<T> =>
      ({
        // oxlint-disable-next-line unicorn/no-thenable -- what stands for a promise here settles in the very tick that the dice choose
        then: (settle: (value: T) => void) => {
          this.#redisWork.push(() => {
            const answer = work();
            this.#redisWork.push(() => settle(answer));
          });
        },
      }) as unknown as Promise<T>;
    return {
      available: true,
      read: (namespace, key) => later(() => this.#found(namespace, key)),
      fill: (namespace, key, entry) => {
        const { generation } = this.#l2;
        const work = (): L2FillResult => this.#l2.fill(namespace, key, { entry, generation });
        this.#redisWork.push(work);
        return Promise.resolve('ok');
      },
      promote: () => Promise.resolve('changed'),
      readPlain: () => Promise.resolve(undefined),
      writePlain: () => Promise.resolve('ok'),
      deletePlain: () => Promise.resolve('ok'),
    };
  }

  #found(namespace: NamespaceRules, key: string): L2Found {
    // Sometimes under a generation that is over: it is learned from answers only.
    const generation = this.#dice.chance(0.9) ? this.#l2.generation : 'g1';
    const found = this.#l2.read(namespace, key, generation);
    return this.#sabotage.found?.(found, this.#replica) ?? found;
  }
}
