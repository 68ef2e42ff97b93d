import { setTimeout as pause } from 'node:timers/promises';
import { parseLsn } from '@tidemark/proto';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { Dice } from '../../sidecar/src/testing/random.ts';
import { startStack, type Stack } from '../kit/index.ts';
import { appsOf, type App } from './support/app.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';
import { metric, write } from './support/write.ts';

// Writers through two sidecars, and with plain SQL beside them, on few rows, while everybody reads; then the same while Postgres is
// killed again and again. Every row counts its changes, so each read can be judged afterwards. Servers of its own.

const KEYS = 10;
const RUN_MS = 8_000;
const KILLS = 5;

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    sidecars: 2,
    servers: { postgres: { fsync: false } },
    initSql: `
      create table items (id text primary key, version int not null default 1, body text not null);
      create table history (id text, version int, body text primary key, at timestamptz default clock_timestamp());
      create function note() returns trigger language plpgsql as $$
        begin insert into history (id, version, body) values (new.id, new.version, new.body); return new; end $$;
      create trigger note after insert or update on items for each row execute function note();
      insert into items (id, body) select 'k' || n, 'start-' || n from generate_series(0, ${KEYS - 1}) n`,
    config: {
      namespaces: {
        items: {
          source: 'main',
          invalidate: [{ table: 'public.items', keys: ['{id}'] }],
          load: { sql: 'select version, body from items where id = $1', timeout: '10s' },
          writeThrough: {
            put: { sql: 'update items set body = $2, version = version + 1 where id = $1' },
            timeout: '30s',
          },
        },
      },
    },
    env: {
      sidecar: ({ postgres }) => ({
        TIDEMARK_WRITE_URL: postgres,
        TIDEMARK_WRITE_POOL: '4',
        TIDEMARK_LOAD_URL: postgres,
      }),
    },
  });
  await cacheable(stack);
});
afterAll(() => stack?.stop());
beforeEach(() => showLogsOnFailure(stack));

/** A write whose commit stands at or before a position, and when its answer came. */
interface Acknowledged {
  readonly key: string;
  readonly body: string;
  readonly lsn: number;
  readonly sidecar: number | undefined;
  readonly atMs: number;
}

interface Read {
  readonly key: string;
  readonly version: number;
  /** Under which it was served. */
  readonly lsn: number | undefined;
  readonly sidecar: number;
  readonly beganMs: number;
}

class Load {
  readonly writes: Acknowledged[] = [];
  readonly reads: Read[] = [];
  readonly failed = new Map<string, number>();
  readonly #seed: number;
  readonly #dice: Dice;
  readonly #apps: readonly App[];
  #isOver = false;
  #count = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.#dice = new Dice(seed);
    this.#apps = appsOf(stack);
  }

  /** Writes through sidecars that were acknowledged. */
  get through(): number {
    return this.writes.filter(({ sidecar }) => sidecar !== undefined).length;
  }

  /** Everybody at once, for as long as `during` takes. */
  async run(during: () => Promise<unknown>): Promise<void> {
    const all = [0, 0, 0, 1, 1, 1].map((sidecar) => this.#loop(() => this.#writeThrough(sidecar)));
    all.push(...[0, 0, 0, 1, 1, 1].map((sidecar) => this.#loop(() => this.#read(sidecar))));
    all.push(this.#sqlWriter(), this.#sqlWriter());
    await during();
    this.#isOver = true;
    await Promise.all(all);
  }

  async #loop(once: () => Promise<void>): Promise<void> {
    while (!this.#isOver) await once();
  }

  #key(): string {
    return `k${this.#dice.below(KEYS)}`;
  }

  async #writeThrough(sidecar: number): Promise<void> {
    const key = this.#key();
    const body = `${this.#seed}-${sidecar}-${(this.#count += 1)}`;
    const answer = await write(stack.sidecars[sidecar]?.url ?? '', ['items', key], body);
    if (answer.lsn !== undefined)
      this.writes.push({ key, body, lsn: parseLsn(answer.lsn), sidecar, atMs: performance.now() });
    else await this.#fail(answer.problem || `${answer.status}`);
    if (this.#dice.chance(0.7)) await this.#read(sidecar, key);
  }

  async #read(sidecar: number, key = this.#key()): Promise<void> {
    const beganMs = performance.now();
    const { status, body, lsn } = await (this.#apps[sidecar] as App).get('items', key);
    if (status !== 200) {
      await this.#fail(`read ${status}`);
      return;
    }
    const { version } = JSON.parse(body) as { version: number };
    this.reads.push({ key, version, lsn: lsn === undefined ? undefined : parseLsn(lsn), sidecar, beganMs });
  }

  async #sqlWriter(): Promise<void> {
    while (!this.#isOver) {
      const client = new pg.Client({ connectionString: stack.postgres });
      client.on('error', () => undefined);
      try {
        await client.connect();
        while (!this.#isOver) {
          const key = this.#key();
          const body = `${this.#seed}-sql-${(this.#count += 1)}`;
          await client.query('update items set body = $2, version = version + 1 where id = $1', [key, body]);
          const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
          const lsn = parseLsn(rows[0]?.lsn ?? '');
          this.writes.push({ key, body, lsn, sidecar: undefined, atMs: performance.now() });
          await pause(this.#dice.below(40));
        }
      } catch {
        await this.#fail('sql');
      } finally {
        await client.end().catch(() => undefined);
      }
    }
  }

  /** What fails is tried again, but not at once. */
  async #fail(what: string): Promise<void> {
    this.failed.set(what, (this.failed.get(what) ?? 0) + 1);
    await pause(20);
  }

  /** Reads that lack what they must show: what stands at or before the position, and what the same sidecar had acknowledged before. */
  async stale(): Promise<string[]> {
    const rows = await stack.sql<{ body: string; version: number }>('select body, version from history');
    const versions = new Map(rows.map(({ body, version }) => [body, version]));
    const byKey = Map.groupBy(this.writes, ({ key }) => key);
    return this.reads.flatMap((read) => {
      const due = (byKey.get(read.key) ?? []).filter(
        ({ lsn, sidecar, atMs }) =>
          (read.lsn !== undefined && lsn <= read.lsn) || (sidecar === read.sidecar && atMs <= read.beganMs),
      );
      const missing = due.find(({ body }) => (versions.get(body) ?? Number.POSITIVE_INFINITY) > read.version);
      return missing === undefined ? [] : [`${JSON.stringify(read)} lacks ${JSON.stringify(missing)}`];
    });
  }
}

async function fates(): Promise<string> {
  const texts = await Promise.all(stack.sidecars.map(async ({ admin }) => (await fetch(`${admin}/metrics`)).text()));
  const of = (fate: string): number =>
    texts.reduce((sum, text) => sum + Number(new RegExp(`own_values_total{fate="${fate}"} (\\d+)`).exec(text)?.[1]), 0);
  return ['kept', 'evicted', 'spoiled', 'forgotten'].map((fate) => `${fate} ${of(fate)}`).join(', ');
}

/** How many values the first sidecar kept of its own writes, and knows what became of. */
const ownValues = () => metric(stack.sidecars[0]?.admin ?? '', 'tidemark_own_values_total');

it('[I5] [I6] [I18] serves nothing stale under writers on all sides', { timeout: 240_000 }, async () => {
  const load = new Load(1);
  await load.run(async () => {
    await pause(RUN_MS);
    while (load.through <= 50 || load.reads.length <= 50 || (await ownValues()) <= 20) await pause(100);
  });
  const { through } = load;
  process.stdout.write(
    `${through} writes through, ${load.writes.length - through} by SQL, ${load.reads.length} reads; `,
  );
  process.stdout.write(`${await fates()}; failed: ${JSON.stringify([...load.failed])}\n`);
  expect(await load.stale()).toEqual([]);
});

it(
  '[I18] serves nothing stale, and loses nothing that it acknowledged, while Postgres is killed',
  { timeout: 300_000 },
  async () => {
    const load = new Load(2);
    const { postgres } = stack.servers;
    await load.run(async () => {
      for (let kills = 0; kills < KILLS; kills++) {
        await pause(1_500);
        await postgres.kill();
        await postgres.ready();
      }
      await pause(3_000);
    });
    process.stdout.write(`${load.writes.length} writes, ${load.reads.length} reads; ${await fates()}; `);
    process.stdout.write(`failed: ${JSON.stringify([...load.failed])}\n`);
    expect(await load.stale()).toEqual([]);
    const stored = new Set((await stack.sql<{ body: string }>('select body from history')).map(({ body }) => body));
    expect(load.writes.filter(({ body }) => !stored.has(body))).toEqual([]);
    expect(load.failed.size).toBeGreaterThan(0);
  },
);
