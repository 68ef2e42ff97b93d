import { encodeBatch, parseConfig, rulesOfSource, type Entry } from '@tidemark/proto';
import { Clearance } from '../../../sidecar/src/core/clearance.ts';
import { Coalescer } from '../../../sidecar/src/core/coalescer.ts';
import { Evictor } from '../../../sidecar/src/core/evictor.ts';
import { Filler } from '../../../sidecar/src/core/filler.ts';
import { isKept } from '../../../sidecar/src/core/flights.ts';
import { L2Look } from '../../../sidecar/src/core/l2-look.ts';
import { Leases } from '../../../sidecar/src/core/leases.ts';
import { Marks } from '../../../sidecar/src/core/marks.ts';
import { Namespace } from '../../../sidecar/src/core/namespace.ts';
import type { OwnWrites } from '../../../sidecar/src/core/own-writes.ts';
import type { L2FillResult, L2Store } from '../../../sidecar/src/core/ports.ts';
import { Positions } from '../../../sidecar/src/core/positions.ts';
import { Reader } from '../../../sidecar/src/core/reader.ts';
import { SourceReplica } from '../../../sidecar/src/core/replica.ts';
import { WriteThrough, type Executed, type Marked } from '../../../sidecar/src/core/write-through.ts';
import type { PutRequest, Writer } from '../../../sidecar/src/core/writer.ts';
import { countingRandom, ManualClock, MapStore } from '../../../sidecar/src/testing/fakes.ts';
import type { Dice } from '../../../sidecar/src/testing/random.ts';
import type { L2Model } from '../l2-model.ts';
import { SHARED, UNTOLD, type Database, type OpenTransaction } from './database.ts';

const parsed = parseConfig({
  sources: { main: { topic: 't' } },
  namespaces: {
    values: {
      source: 'main',
      l2: { lease: false },
      invalidate: [
        { table: 'public.rows', keys: ['{id}'] },
        { table: 'public.others', tags: ['{id}'] },
      ],
    },
  },
});
if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
const { config } = parsed;
const of = config.namespaces['values'] as Namespace['config'];
export const rules = rulesOfSource(config, 'main');
export const ROWS = ['a', 'b'];

/** What a sidecar lacks. */
export interface Sabotage {
  readonly own?: (options: { replica: SourceReplica; most: number; maxBytes: number }, l2: L2Model) => OwnWrites;
  /** In place of the replica that writes are begun and concluded with. */
  readonly replica?: (replica: SourceReplica, database: Database) => SourceReplica;
}

export interface World {
  readonly dice: Dice;
  readonly database: Database;
  readonly l2: L2Model;
  readonly name: string;
  readonly newOwn: (options: { replica: SourceReplica; most: number; maxBytes: number }) => OwnWrites;
  readonly sabotage: Sabotage;
}

/** The real core of a sidecar, its readers and its writers. Everything that takes time waits in `work`. */
export class WorldSidecar {
  /** What went wrong. */
  wrong: string | undefined;
  served = 0;
  readonly own: OwnWrites;
  readonly #world: World;
  readonly #clock = new ManualClock();
  readonly #namespace: Namespace;
  readonly #replica: SourceReplica;
  readonly #coalescer: Coalescer;
  readonly #reader: Reader;
  readonly #filler: Filler;
  readonly #through: WriteThrough;
  readonly #writer: Writer;
  readonly #work: (() => void)[] = [];
  /** The newest write of each key whose answer came back through here. */
  readonly #floor = new Map<string, number>();
  /** Commit positions of writes whose answer is on its way, by the body of the request. */
  readonly #answered = new WeakMap<Uint8Array, number>();
  #offset: number;

  constructor(world: World) {
    const { dice, database, l2: model, name, sabotage } = world;
    this.#world = world;
    const namespace = new Namespace({ name: 'values', config: of, rules: rules.namespaces[0], l1: new MapStore() });
    this.#namespace = namespace;
    const random = countingRandom(dice);
    const clock = this.#clock;
    const marks = new Marks();
    const evictor = new Evictor([namespace], marks);
    const replica = new SourceReplica({ rules, evict: evictor, maxStalenessMs: 60_000 });
    const leases = new Leases({ ttlMs: 10_000, most: 100 });
    const limits = { waitMs: 2_000, waiters: 5, waitersPerKey: 3 };
    const coalescer = new Coalescer({ namespaces: [namespace], replica, leases, clock, random, limits });
    const l2 = this.#store(model);
    const look = new L2Look({ replica, coalescer, l2, clock });
    void new Clearance({ replica, coalescer, look, l2, clock, random, waitMs: 2_000 });
    this.#replica = replica;
    this.#coalescer = coalescer;
    this.#reader = new Reader({ coalescer, look, clock, random });
    this.#filler = new Filler({ replica, leases, coalescer, l2, clock, random });
    const watched = sabotage.replica?.(replica, database) ?? replica;
    const watch = { replica: watched, most: 16, maxBytes: 1_000 };
    this.own = sabotage.own?.(watch, model) ?? world.newOwn(watch);
    evictor.spare(this.own);
    // The invalidator may be away.
    const position = () => this.#later(() => (dice.chance(0.3) ? { failed: 'away' } : database.position));
    const positions = new Positions({ client: { position }, most: 10 });
    const namespaces = new Map([['values', namespace]]);
    const parts = {
      namespaces,
      replica: watched,
      filler: this.#filler,
      coalescer,
      positions,
      marks,
      clock,
      own: this.own,
    };
    let count = 0;
    const unique = { ...random, token: () => `${name}-${(count += 1)}` };
    this.#through = new WriteThrough({ ...parts, random: unique, etagOf: () => '' });
    this.#writer = this.#through.writer({ headers: [], put: (request) => this.#execute(request) });
    this.#offset = database.topic.length - 1;
  }

  step(): void {
    const { dice, database } = this.#world;
    const roll = dice.below(100);
    if (roll < 25) this.#hear();
    else if (roll < 80) dice.draw(this.#work)?.();
    else if (roll < 92) this.#read(dice.pick(ROWS));
    else if (roll < 94) this.#write(dice.pick(ROWS));
    else if (roll < 96) this.#clock.advance(dice.below(1_500));
    else if (roll < 97) this.#offset = Math.max(0, this.#offset - 1 - dice.below(3));
    else if (dice.chance(0.2)) this.#offset = Math.min(this.#offset + 1, database.topic.length);
    else if (dice.chance(0.1)) this.#namespace.l1.clear();
  }

  #hear(): void {
    const batch = this.#world.database.topic[this.#offset];
    if (batch === undefined) return;
    this.#offset += 1;
    const observed = this.#replica.observe(encodeBatch(batch));
    this.#replica.heard(this.#clock.monotonicMs());
    // What was answered before the stream broke off may be forgotten.
    if (observed !== 'next' && observed !== 'duplicate') this.#floor.clear();
    this.#through.applied();
    this.#coalescer.settleDoomed();
  }

  #read(key: string): void {
    const settle: Parameters<Reader['read']>[0]['settle'] = (outcome) => {
      if (outcome.kind === 'miss' && outcome.lease !== undefined) {
        const { token } = outcome.lease;
        this.#work.push(() => this.#load(key, token));
      } else if (outcome.kind === 'value' && isKept(outcome.from)) this.#check(key, outcome.entry, outcome.from);
    };
    this.#reader.read({ namespace: this.#namespace, key, mode: 'usual', settle });
  }

  #load(key: string, token: string): void {
    const { database } = this.#world;
    const body = bytesOf([key, SHARED, UNTOLD].map((row) => database.read(row)));
    const rest = { tags: [SHARED], absent: false, contentType: '', etag: '', loadedAt: database.position.lsn };
    this.#work.push(() => void this.#filler.fill({ namespace: this.#namespace, key, token, body, ...rest }));
  }

  #write(key: string): void {
    const body = new Uint8Array();
    // Tags of the value may be those that the read of it finds.
    const tags = this.#world.dice.chance(0.7) ? [SHARED] : [];
    const request = { body, contentType: '', tags, headers: {}, maxAgeMs: undefined };
    const signal = new AbortController().signal;
    void this.#writer.put?.({ namespace: this.#namespace, key, signal, ...request }).then((written) => {
      if (written.kind !== 'written') return;
      // Now the writer has its answer: here nobody may find anything older any more.
      this.#floor.set(key, Math.max(this.#floor.get(key) ?? 0, this.#answered.get(body) ?? 0));
    });
  }

  /** One transaction: the write, then the read of the value, COMMIT, and its answer, each when the dice say so. */
  #execute({ key, mark, body: request }: Marked<PutRequest>): Promise<Executed> {
    const { dice, database } = this.#world;
    const { promise, resolve } = Promise.withResolvers<Executed>();
    const begin = (): void => {
      const rows = dice.chance(0.3) ? [key, dice.chance(0.9) ? SHARED : UNTOLD] : [key];
      const transaction = database.begin(rows, mark);
      this.#work.push(transaction === undefined ? begin : () => read(transaction));
    };
    const read = (transaction: OpenTransaction): void => {
      const body = bytesOf([key, SHARED, UNTOLD].map((row) => database.read(row, transaction)));
      this.#work.push(() => commit(transaction, body));
    };
    const commit = (transaction: OpenTransaction, body: Uint8Array): void => {
      if (dice.chance(0.1)) {
        database.rollBack(transaction);
        resolve({ kind: 'failed', why: 'conflict', detail: '' });
        return;
      }
      if (dice.chance(0.04)) {
        // Nobody hears of it any more, and it may be committed all the same, behind whatever is done meanwhile.
        resolve({ kind: 'failed', why: 'unknown', detail: '' });
        this.#work.push(() => database.commit(transaction));
        return;
      }
      database.commit(transaction);
      this.#work.push(() => answer(transaction, body));
    };
    const answer = (transaction: OpenTransaction, body: Uint8Array): void => {
      if (!database.isVisible(transaction)) {
        this.#work.push(() => answer(transaction, body));
        return;
      }
      if (dice.chance(0.1)) {
        resolve({ kind: 'failed', why: 'unknown', detail: '' });
        return;
      }
      const { lsn } = database.position;
      this.#answered.set(request, database.lsnOf(transaction.id));
      const value = { kind: 'value', body, contentType: '', tags: [SHARED] } as const;
      // An endpoint may not say where it has committed.
      const place = dice.chance(0.8) ? { lsn, timeline: 1 } : ({ lsn: 'ask', timeline: undefined } as const);
      resolve({ kind: 'committed', created: undefined, ...place, value });
    };
    this.#work.push(begin);
    return promise;
  }

  #check(key: string, { body }: Entry, from: string): void {
    const { database, name } = this.#world;
    const [row = 0, shared = 0, untold = 0] = idsIn(body);
    const { applied } = this.#replica;
    this.served += 1;
    if (!database.reflects(key, row, applied))
      this.wrong ??= `${name} ${key} from ${from}: its row is older than ${applied}`;
    if (!database.reflects(SHARED, shared, applied))
      this.wrong ??= `${name} ${key} from ${from}: the shared row is older than ${applied}`;
    if (!database.reflects(UNTOLD, untold, applied))
      this.wrong ??= `${name} ${key} from ${from}: what was purged is older than ${applied}`;
    const floor = this.#floor.get(key) ?? 0;
    if (database.lsnOf(row) < floor)
      this.wrong ??= `${name} ${key} from ${from}: older than what was written here at ${floor}`;
  }

  /** What is asked for happens at some time, and its answer comes back at some later time. */
  #later<T>(work: () => T): Promise<T> {
    return new Promise((resolve) => {
      this.#work.push(() => {
        const answer = work();
        this.#work.push(() => resolve(answer));
      });
    });
  }

  #store(l2: L2Model): L2Store {
    const nothing = (): Promise<never> => Promise.reject(new Error('nothing of the kind is done here'));
    return {
      available: true,
      read: (namespace, key) => this.#later(() => l2.read(namespace, key, l2.generation)),
      fill: (namespace, key, entry) => {
        const { generation } = l2;
        this.#work.push(() => void l2.fill(namespace, key, { entry, generation }));
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

/** Numbers of transactions, two bytes each. */
function bytesOf(ids: readonly number[]): Uint8Array {
  return Uint8Array.from(ids.flatMap((id) => [id >> 8, id & 255]));
}

function idsIn(body: Uint8Array): readonly number[] {
  return Array.from({ length: body.length / 2 }, (_, i) => (body[2 * i] ?? 0) * 256 + (body[2 * i + 1] ?? 0));
}
