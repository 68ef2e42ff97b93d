import { setTimeout as wait } from 'node:timers/promises';
import { parseLsn } from '@tidemark/proto';
import type { Availability } from './availability.ts';
import type { Cached, CacheClient } from './cache-client.ts';
import type { Checker, SeenRow, Written } from './checker.ts';
import type { Database, Row } from './database.ts';
import type { Epochs } from './epochs.ts';
import type { Journal } from './journal.ts';
import { below, pick, type Random, zipf } from './random.ts';
import { seen, type Loaded, type Thing } from './thing.ts';
import { docs, items, shelves } from './world.ts';

/** An application and the sidecar beside it. */
export interface Pod {
  readonly name: string;
  readonly cache: CacheClient;
}

export interface Totals {
  readonly l1: number;
  readonly l2: number;
  readonly misses: number;
  /** Loaded by a sidecar and not kept, or old. */
  readonly unpromised: number;
  /** Answered without a value and without a lease. */
  readonly refused: number;
  readonly unreachable: number;
  /** Misses whose load Postgres failed. */
  readonly failedLoads: number;
  readonly writes: number;
  readonly purges: number;
  /** Writes and purges of which nobody knows whether they happened. */
  readonly unknown: number;
}

interface Options {
  readonly pods: readonly [Pod, ...Pod[]];
  readonly database: Database;
  readonly checker: Checker;
  readonly epochs: Epochs;
  readonly availability: Availability;
  readonly journal: Journal;
  readonly random: Random;
  /** Whether fills of items say a tag. */
  readonly tagsItems: () => boolean;
}

/** Of fills: so many never come, and so many come late, when what was loaded may have changed. */
const abandoned = 0.03;
const late = 0.12;
/** Of loads of items, so many are from the standby. */
const fromStandby = 0.15;
const maxLateMs = 1_500;
/** Items that are added meanwhile; readers ask for each before it is there. */
const maxLaunched = 100;

/** What applications do. Each call does one thing and shows it to the checker. */
export class Workload {
  readonly #options: Options;
  readonly #popular: () => number;
  readonly #totals = {
    l1: 0,
    l2: 0,
    misses: 0,
    unpromised: 0,
    refused: 0,
    unreachable: 0,
    failedLoads: 0,
    writes: 0,
    purges: 0,
    unknown: 0,
  };
  #launched = 0;
  readonly #lateFills = new Set<Promise<void>>();

  constructor(options: Options) {
    this.#options = options;
    this.#popular = zipf(options.random, items);
  }

  get totals(): Totals {
    return { ...this.#totals };
  }

  /** Everything that readers ask for. */
  get things(): Thing[] {
    const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
    return [
      ...numbers(items + this.#launched + 1).map((id) => this.item(id)),
      ...numbers(items + this.#launched + 1).map((id) => this.fetched(id)),
      ...numbers(shelves).map((shelf) => this.#shelf(shelf)),
      ...numbers(docs).map((id) => this.doc(id)),
    ];
  }

  async read(pod: Pod): Promise<void> {
    const { random } = this.#options;
    await this.#readSloppily(pod, random() < 0.2 ? this.doc(1 + below(random, docs)) : this.popularThing());
  }

  /** Something that follows the rules, as often as it is popular. */
  popularThing(): Thing {
    const { random } = this.#options;
    // Now and then somebody asks for an item that is not there yet: that is cached as well.
    if (random() < 0.03) return this.item(items + 1 + this.#launched);
    const kind = random();
    if (kind < 0.5) return this.item(this.popularItem());
    return kind < 0.75 ? this.fetched(this.popularItem()) : this.#shelf(1 + below(random, shelves));
  }

  popularItem(): number {
    return this.#popular() + 1;
  }

  /** Cache-aside by an application that is slow at times, or gives up. */
  async #readSloppily(pod: Pod, thing: Thing): Promise<void> {
    const { random } = this.#options;
    const how = random();
    const load = random() < fromStandby ? thing.loadOld : undefined;
    await this.readThrough(pod, thing, {
      load: async () => (await load?.()) ?? { value: await thing.load(), headers: {} },
      fill: (put) => {
        if (how < abandoned) return undefined;
        if (how < abandoned + late) return this.#later(random() * maxLateMs, put);
        return put();
      },
    });
  }

  /** Cache-aside. Answers what the cache said. */
  async readThrough(
    pod: Pod,
    thing: Thing,
    how: {
      readonly load: () => Promise<Loaded>;
      readonly fill: (put: () => Promise<void>) => Promise<void> | undefined;
    } = {
      load: async () => ({ value: await thing.load(), headers: {} }),
      fill: (put) => put(),
    },
  ): Promise<Cached> {
    const { availability } = this.#options;
    const sentAtMs = performance.now();
    const cached = await pod.cache.get(thing.namespace, thing.key);
    const receivedAtMs = performance.now();
    const isValue = cached.kind === 'hit' || cached.kind === 'unpromised';
    const good = isValue || (cached.kind === 'miss' && cached.lease !== undefined);
    availability.note(pod.name, { fromMs: sentAtMs, toMs: receivedAtMs, good });
    if (cached.kind === 'hit') {
      this.#totals[cached.layer] += 1;
      this.#show(pod, thing, { cached, sentAtMs, receivedAtMs });
      return cached;
    }
    if (cached.kind === 'unpromised') {
      this.#totals.unpromised += 1;
      return cached;
    }
    if (cached.kind === 'unreachable') this.#totals.unreachable += 1;
    else if (cached.lease === undefined) this.#totals.refused += 1;
    else this.#totals.misses += 1;
    const lease = cached.kind === 'miss' ? cached.lease : undefined;
    const tags = thing.tags();
    try {
      const { value, headers } = await how.load();
      if (lease === undefined) return cached;
      await how.fill(async () => {
        await pod.cache.put(thing.namespace, thing.key, { value, lease, tags }, headers);
      });
    } catch {
      this.#totals.failedLoads += 1; // Postgres is away
    }
    return cached;
  }

  async write(): Promise<void> {
    const { random, database } = this.#options;
    const id = this.popularItem();
    const kind = random();
    if (kind < 0.6) await this.commit(() => database.change([id]));
    else if (kind < 0.75) {
      const other = (id % items) + 1;
      // In the order of their ids, so that no two transactions wait for each other.
      await this.commit(() => database.change([id, other].toSorted((a, b) => a - b)));
    } else if (kind < 0.77 && this.#launched < maxLaunched) {
      this.#launched += 1;
      const next = items + this.#launched;
      await this.commit(() => database.launch(next, 1 + below(random, shelves)));
    } else if (kind < 0.85) await this.commit(() => database.move(id, 1 + below(random, shelves)));
    else await this.purge(1 + below(random, docs));
  }

  /** Changes a document and purges it, in one of three ways. */
  async purge(id: number): Promise<Written | undefined> {
    const { random, database, pods } = this.#options;
    const { cache } = pick(random, pods);
    const kind = random();
    if (kind < 0.3) return this.commit(() => database.editAndPurge(id));
    return this.commit(async () => {
      const written = await database.edit(id);
      const lsn = await (kind < 0.65 ? cache.delete('doc', `${id}`) : cache.purgeTags('doc', [`doc:${id}`]));
      if (lsn === undefined) throw new Error('the purge was not acknowledged');
      // The purge's position is of this timeline only if the timeline is still the same.
      if ((await database.timeline()) !== written.rows[0]?.timeline) throw new Error('a promotion came between');
      return { ...written, lsn, promise: 'purge' };
    });
  }

  /** Writes under the checker's eyes. Undefined where it is not known whether it happened. */
  async commit(write: () => Promise<Written>): Promise<Written | undefined> {
    const { checker, journal } = this.#options;
    const ticket = checker.beginWrite();
    let written: Written | undefined;
    try {
      written = await write();
      const { lsn, rows, promise = 'commit' } = written;
      if (promise === 'purge') this.#totals.purges += 1;
      else this.#totals.writes += 1;
      const now = performance.now();
      for (const { row, version, timeline } of rows)
        journal.note(row, now, `${promise} of version ${version} at or before ${lsn}, timeline ${timeline}`);
    } catch {
      this.#totals.unknown += 1;
    }
    checker.endWrite(ticket, performance.now(), written);
    return written;
  }

  item(id: number): Thing {
    const rowsOf = (value: unknown): SeenRow[] => [seen('items', id, value as Row | undefined)];
    const { database, tagsItems } = this.#options;
    const tags = (): string[] => (tagsItems() ? [`item:${id}`] : []);
    const loadOld = async (): Promise<Loaded | undefined> => {
      const found = await database.itemOfStandby(id);
      return found && { value: found.item, headers: { 'source-lsn': found.sourceLsn } };
    };
    return { namespace: 'item', key: `${id}`, tags, load: () => database.item(id), loadOld, rowsOf };
  }

  /** The same row, which sidecars load. */
  fetched(id: number): Thing {
    const { key, rowsOf } = this.item(id);
    return { namespace: 'fetched', key, tags: () => [], load: () => this.#options.database.item(id), rowsOf };
  }

  doc(id: number): Thing {
    const rowsOf = (value: unknown): SeenRow[] => [seen('docs', id, value as Row | undefined)];
    const tags = (): string[] => [`doc:${id}`];
    return { namespace: 'doc', key: `${id}`, tags, load: () => this.#options.database.doc(id), rowsOf };
  }

  #shelf(shelf: number): Thing {
    const rowsOf = (value: unknown): SeenRow[] => (value as Row[]).map((row) => seen('items', row.id, row));
    const tags = (): string[] => [`shelf:${shelf}`];
    return { namespace: 'shelf', key: `${shelf}`, tags, load: () => this.#options.database.shelf(shelf), rowsOf };
  }

  /** Waits for fills that are late on purpose. */
  async drain(): Promise<void> {
    await Promise.all(this.#lateFills);
  }

  #later(ms: number, put: () => Promise<void>): undefined {
    const fill = wait(ms).then(put);
    this.#lateFills.add(fill);
    void fill.finally(() => this.#lateFills.delete(fill));
  }

  #show(
    { name }: Pod,
    thing: Thing,
    read: { cached: Extract<Cached, { kind: 'hit' }>; sentAtMs: number; receivedAtMs: number },
  ): void {
    const { checker, epochs, journal } = this.#options;
    const { cached, sentAtMs, receivedAtMs } = read;
    const { lsn, layer } = cached;
    const rows = thing.rowsOf(cached.value);
    const key = `${thing.namespace}/${thing.key}`;
    for (const { row, version } of rows)
      journal.note(row, receivedAtMs, `${name} served ${key} from ${layer} under W = ${lsn}: version ${version}`);
    epochs.hold(name, {
      sentAtMs,
      receivedAtMs,
      lsn: parseLsn(lsn),
      settle: (timeline) => {
        if (timeline !== undefined) checker.served({ sidecar: name, key, lsn, rows, timeline });
      },
    });
  }
}
