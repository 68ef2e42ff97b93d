import type { CompiledRules, TidemarkConfig } from '@tidemark/proto';
import { Clearance } from '../../../sidecar/src/core/clearance.ts';
import { Coalescer } from '../../../sidecar/src/core/coalescer.ts';
import { Evictor } from '../../../sidecar/src/core/evictor.ts';
import { Filler } from '../../../sidecar/src/core/filler.ts';
import { L2Look } from '../../../sidecar/src/core/l2-look.ts';
import { Leases } from '../../../sidecar/src/core/leases.ts';
import { Namespace } from '../../../sidecar/src/core/namespace.ts';
import type { L2FillResult, L2Store, PositionClient } from '../../../sidecar/src/core/ports.ts';
import { Positions } from '../../../sidecar/src/core/positions.ts';
import { Reader } from '../../../sidecar/src/core/reader.ts';
import { SourceReplica } from '../../../sidecar/src/core/replica.ts';
import type { SessionsOptions } from '../../../sidecar/src/core/sessions.ts';
import { Watermark } from '../../../sidecar/src/core/watermark.ts';
import { countingRandom, ManualClock, MapStore } from '../../../sidecar/src/testing/fakes.ts';
import type { Dice } from '../../../sidecar/src/testing/random.ts';
import { recordOf, type Database } from '../database.ts';
import type { L2Model } from '../l2-model.ts';

export interface WorldOptions {
  readonly dice: Dice;
  readonly database: Database;
  readonly l2: L2Model;
  readonly rules: CompiledRules;
  readonly config: TidemarkConfig;
}

/**
 * The real core of a sidecar as the application sees it. Its stream, its Redis and its invalidator move when the dice say so:
 * everything that takes time waits in `work`.
 */
export class WorldSidecar {
  static #made = 0;
  readonly clock = new ManualClock();
  readonly reader: Reader;
  readonly filler: Filler;
  readonly coalescer: Coalescer;
  readonly replica: SourceReplica;
  readonly positions: Positions;
  readonly watermark: Watermark;
  readonly #options: WorldOptions;
  readonly #namespaces: readonly Namespace[];
  readonly #work: (() => void)[] = [];
  #offset: number;

  constructor(options: WorldOptions) {
    const { dice, database, rules, config } = options;
    this.#options = options;
    this.#namespaces = rules.namespaces.map((each) => {
      const of = config.namespaces[each.name] as Namespace['config'];
      return new Namespace({ name: each.name, config: of, rules: each, l1: new MapStore() });
    });
    const [clock, namespaces] = [this.clock, this.#namespaces];
    // No two sidecars give the same token.
    const counting = countingRandom(dice);
    const prefix = `s${(WorldSidecar.#made += 1)}`;
    const random = { token: () => prefix + counting.token(), fraction: () => counting.fraction() };
    const evict = new Evictor(namespaces);
    const replica = new SourceReplica({ rules, evict, maxStalenessMs: 60_000 });
    this.replica = replica;
    const leases = new Leases({ ttlMs: 10_000, most: 100 });
    const limits = { waitMs: 2_000, waiters: 5, waitersPerKey: 3 };
    this.coalescer = new Coalescer({ namespaces, replica, leases, clock, random, limits });
    const [coalescer, l2] = [this.coalescer, this.#store()];
    const look = new L2Look({ replica, coalescer, l2, clock });
    void new Clearance({ replica, coalescer, look, l2, clock, random, waitMs: 2_000 });
    this.reader = new Reader({ coalescer, look, clock, random });
    this.filler = new Filler({ replica, leases, coalescer, l2, clock, random });
    this.watermark = new Watermark({ replica, clock, most: 5 });
    this.positions = new Positions({ client: this.#invalidator(), most: 10 });
    this.#offset = database.topic.length - 1;
  }

  get sessionsOptions(): SessionsOptions {
    const { replica, watermark, positions, clock } = this;
    return { source: 'main', replica, watermark, positions, clock, timeoutMs: 1_000 };
  }

  namespace(name: string): Namespace {
    return this.#namespaces.find((each) => each.name === name) as Namespace;
  }

  /** Something happens to it that callers do not see. */
  step(): void {
    const { dice } = this.#options;
    const roll = dice.below(100);
    if (roll < 30) this.#hear();
    else if (roll < 94) dice.draw(this.#work)?.();
    else if (roll < 98) this.clock.advance(dice.below(1_500));
    else if (roll < 99) this.#offset = Math.min(this.#offset + 1 + dice.below(2), this.#options.database.topic.length);
    else if (dice.chance(0.3)) this.#reset();
  }

  #hear(): void {
    const batch = this.#options.database.topic[this.#offset];
    if (batch === undefined) return;
    this.#offset += 1;
    this.replica.observe(recordOf(batch));
    this.replica.heard(this.clock.monotonicMs());
    this.#settle();
  }

  #reset(): void {
    this.replica.lost();
    this.#settle();
    this.#offset = this.#options.database.topic.length - 1;
  }

  #settle(): void {
    this.coalescer.settleDoomed();
    this.watermark.advanced();
  }

  #invalidator(): PositionClient {
    const { dice, database } = this.#options;
    return { position: () => this.#later(() => (dice.chance(0.9) ? database.position : { failed: 'away' })) };
  }

  /** What is asked for happens at some time, and its answer comes back at some later time. */
  #later<T>(work: () => T): Promise<T> {
    return {
      // oxlint-disable-next-line unicorn/no-thenable -- what stands for a promise here settles in the very tick that the dice choose
      then: (settle: (value: T) => void) => {
        this.#work.push(() => {
          const answer = work();
          this.#work.push(() => settle(answer));
        });
      },
    } as unknown as Promise<T>;
  }

  #store(): L2Store {
    const { l2 } = this.#options;
    const nothing = (): Promise<never> => Promise.reject(new Error('no namespace is ttl_only'));
    return {
      available: true,
      read: (namespace, key) => this.#later(() => l2.read(namespace, key, l2.generation)),
      fill: (namespace, key, entry) => {
        const { generation } = l2;
        // What Redis stores says nothing about how new the value is at most.
        const { loadedAt: _, ...stored } = entry;
        this.#work.push(() => void l2.fill(namespace, key, { entry: stored, generation }));
        return Promise.resolve<L2FillResult>('ok');
      },
      promote: nothing,
      readPlain: nothing,
      writePlain: nothing,
      deletePlain: nothing,
      claim: nothing,
      release: nothing,
    };
  }
}
