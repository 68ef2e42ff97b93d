import assert from 'node:assert/strict';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { type PostgresPair, startPostgresPair, startStack, type Stack } from '../../kit/index.ts';
import { withPostgres } from '../../kit/names.ts';
import { type App, appsOf } from './app.ts';
import { eventually } from './eventually.ts';
import { cacheable, showLogsOnFailure } from './stack.ts';

/** How many rows there are to read, from 1 on. */
export const ROWS = 20;
/** A row that {@link Failover.recovered} does not read. */
export const NEVER_READ = ROWS + 1;

/** Two sidecars over a primary and its standby, and what an application sees of them. */
export class Failover {
  /** What the stack's invalidator has said since the test began. */
  lines: string[] = [];
  #running: { readonly pair: PostgresPair; readonly stack: Stack; readonly apps: readonly App[] } | undefined;

  get pair(): PostgresPair {
    return this.#some.pair;
  }

  get stack(): Stack {
    return this.#some.stack;
  }

  get apps(): readonly App[] {
    return this.#some.apps;
  }

  get #some() {
    if (this.#running === undefined) throw new Error('the stack did not start');
    return this.#running;
  }

  async start(): Promise<void> {
    const pair = await startPostgresPair({ fsync: false });
    const stack = await startStack({
      sidecars: 2,
      onLine: (name, line) => {
        if (name === 'invalidator') this.lines.push(line);
      },
      servers: { started: { postgres: pair } },
      env: { sidecar: { TIDEMARK_MAX_STALENESS: '1m', TIDEMARK_COALESCE_TIMEOUT: '200ms' } },
      initSql: `
        create table items (id int primary key, version int not null);
        insert into items select n, 0 from generate_series(1, ${NEVER_READ}) n;
      `,
      config: { namespaces: { items: { source: 'main', invalidate: [{ table: 'public.items', keys: ['{id}'] }] } } },
    });
    this.#running = { pair, stack, apps: appsOf(stack) };
  }

  /** There is a standby with the slot, Postgres tells it first, and every row can be cached. */
  async prepare(): Promise<void> {
    const { pair, stack } = this;
    if (pair.standby === undefined) await pair.addStandby();
    await this.set('synchronous_standby_names', '');
    await this.set('synchronized_standby_slots', 'kit_standby');
    await stack.invalidator.release();
    await pair.slotSynced(stack.slot);
    await cacheable(stack);
    this.lines = [];
  }

  async stop(): Promise<void> {
    await this.#running?.stack.stop();
  }

  async versionOf(id: number): Promise<string> {
    const [row] = await this.stack.sql<{ version: number }>('select version from items where id = $1', [id]);
    return `${row?.version}`;
  }

  async change(id: number): Promise<void> {
    await this.stack.sql('update items set version = version + 1 where id = $1', [id]);
  }

  /** What an application gets for a row. */
  read(app: App, id: number): Promise<string> {
    return app.read('items', `${id}`, () => this.versionOf(id));
  }

  /** What a sidecar answers from its cache; undefined where it would have to be loaded. */
  async inCache(app: App, id: number): Promise<string | undefined> {
    const { status, body } = await app.get('items', `${id}`, { 'cache-control': 'only-if-cached' });
    return status === 200 ? body : undefined;
  }

  /** Reads through a sidecar until it serves the row as it is now, from the cache. */
  async cached(app: App, id: number): Promise<string> {
    return eventually(
      async () => {
        const version = await this.versionOf(id);
        await this.read(app, id);
        assert.equal(await this.inCache(app, id), version);
        return version;
      },
      { withinMs: 60_000 },
    );
  }

  /** Every row is served from the caches as the primary has it. */
  async recovered(): Promise<void> {
    for (const app of this.apps) for (let id = 1; id <= ROWS; id += 1) await this.cached(app, id);
  }

  /** Every sidecar answers this version from its cache. */
  async served(id: number, version: string): Promise<void> {
    for (const app of this.apps) assert.equal(await this.inCache(app, id), version);
  }

  /** No sidecar answers this version of a row from its cache, however often it is asked. */
  async neverServed(id: number, version: string): Promise<void> {
    for (let i = 0; i < 50; i += 1) for (const app of this.apps) assert.notEqual(await this.inCache(app, id), version);
  }

  /** The same, as soon as the sidecars have heard of the change. */
  evicted(id: number, version: string): Promise<void> {
    return eventually(() => this.neverServed(id, version), { withinMs: 60_000 });
  }

  async epoch(): Promise<number> {
    const status = (await (await fetch(`${this.stack.sidecars[0]?.url}/v1/status`)).json()) as {
      sources: Record<string, { epoch: number }>;
    };
    return status.sources[this.stack.source]?.epoch ?? 0;
  }

  /** The sidecars follow an epoch after this one. */
  async epochAfter(before: number): Promise<void> {
    await eventually(async () => assert.ok((await this.epoch()) > before), { withinMs: 60_000 });
  }

  /** A log line of the stack's invalidator with these words, of this test. */
  async said(words: string): Promise<string> {
    return eventually(
      () => {
        const line = this.lines.find((each) => each.includes(words));
        assert.ok(line !== undefined, `the invalidator did not say: ${words}`);
        return line;
      },
      { withinMs: 60_000 },
    );
  }

  /** A metric of the stack's invalidator, with its labels. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.stack.invalidator.url}/metrics`)).text();
    const line = text.split('\n').find((each) => each.startsWith(`tidemark_invalidator_${name} `));
    return Number(line?.split(' ').at(-1)?.replace('+Inf', 'Infinity'));
  }

  /** Changes a setting of the primary. */
  async set(setting: string, value: string): Promise<void> {
    await withPostgres(this.pair.primary.url, async (client) => {
      await client.query(`alter system set ${setting} = '${value}'`);
      await client.query('select pg_reload_conf()');
    });
    await eventually(async () =>
      assert.deepEqual(await this.stack.sql(`select current_setting('${setting}') as value`), [{ value }]),
    );
  }

  /** Ends the stack's invalidator until the next test, or until it is released. */
  async endInvalidator(): Promise<void> {
    this.stack.invalidator.hold();
    await this.stack.invalidator.kill();
  }

  /** Makes the slot, which nobody may be using, one that standbys do not get. */
  async withholdSlot(): Promise<void> {
    const { pair, stack } = this;
    const client = new pg.Client({ connectionString: stack.postgres, replication: 'database' } as pg.ClientConfig);
    await client.connect();
    await eventually(() => client.query(`ALTER_REPLICATION_SLOT "${stack.slot}" (FAILOVER false)`));
    await client.end();
    await eventually(async () => {
      const url = pair.standby?.url ?? '';
      const { rowCount } = await withPostgres(url, (standby) => standby.query('select from pg_replication_slots'));
      assert.equal(rowCount, 0);
    });
  }
}

/** For the tests of one file; each begins with a primary, a standby that has the slot, and rows that can be cached. */
export function useFailover(): Failover {
  const failover = new Failover();
  beforeAll(() => failover.start());
  afterAll(() => failover.stop());
  beforeEach(async () => {
    showLogsOnFailure(failover.stack);
    await failover.prepare();
  });
  return failover;
}
