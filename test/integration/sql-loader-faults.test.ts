import { afterAll, beforeAll, expect, it } from 'vitest';
import type { SqlLoader } from '../../sidecar/src/adapters/sql-loader.ts';
import type { PostgresPool } from '../../sidecar/src/adapters/sql-pool.ts';
import type { Loaded } from '../../sidecar/src/core/ports.ts';
import { startPostgresPair, type PostgresPair } from '../kit/index.ts';
import { withPostgres } from '../kit/names.ts';
import { eventually } from './support/eventually.ts';
import { identityOf, loadBy, readerPool, sqlLoader } from './support/sql-loader.ts';

// What becomes of loads whose connection, table, login or snapshot is taken from them, on the real thing; and that nothing of it stays.

let pair: PostgresPair;
let pool: PostgresPool;
let loaderOf: (load: object, at?: PostgresPool) => SqlLoader;

beforeAll(async () => {
  pair = await startPostgresPair({ fsync: false, standbyFirst: false });
  await run(`create table users (id int primary key, name text); insert into users values (1, 'Ada');
    create role reader login password 'reader'; grant select on users to reader`);
  const server = await identityOf(pair.url);
  await pair.caughtUp();
  pool = readerPool(pair.primary.url);
  loaderOf = (load, at = pool) => sqlLoader(load, { pool: at, followed: () => server });
}, 120_000);
afterAll(async () => {
  await pool?.close(1000);
  await pair?.stop();
});

const SQL = 'select id, name from users where id = $1';
const SLOW = { sql: `select id, pg_sleep(600)::text from users where id = $1` };

async function run(sql: string, at = pair.url): Promise<readonly Record<string, unknown>[]> {
  return withPostgres(at, async (client) => (await client.query<Record<string, unknown>>(sql)).rows);
}

/** Statements of loaders that the server is at. */
const working = (at = pair.url): Promise<readonly Record<string, unknown>[]> =>
  run(`select pid, wait_event_type from pg_stat_activity where application_name = 'loader' and state = 'active'`, at);

const isLoaded = (loaded: Loaded): void => expect(loaded).toMatchObject({ kind: 'value' });

/** Nothing is left of a load, here or there, and loads work. */
async function allIsWell(at = pool, url = pair.url): Promise<void> {
  isLoaded(await loadBy(loaderOf({ sql: SQL }, at), '1'));
  expect([at.inUse, at.waiting]).toEqual([0, 0]);
  await eventually(async () => expect(await working(url)).toEqual([]));
}

it('a load whose connection is ended fails, and the next one has another', async () => {
  const loading = loadBy(loaderOf(SLOW), '1');
  const pid = await eventually(async () => {
    const [found] = await working();
    return (expect(found).toBeDefined(), found as { pid: number }).pid;
  });
  await run(`select pg_terminate_backend(${pid})`);
  expect(await loading).toMatchObject({ why: 'unavailable', detail: expect.stringContaining('57P01') as string });
  await allIsWell();
});

it.each(['that was described', 'that was not described yet'])(
  'a load %s ends in time where its table is locked, and nobody waits for the lock afterwards',
  async (which) => {
    // Connections that are there: where one cannot be made in time a load fails for another reason.
    const both = loaderOf({ sql: 'select pg_sleep(0.1)::text, $1::text' });
    for (const loaded of await Promise.all([loadBy(both, '1'), loadBy(both, '1')])) isLoaded(loaded);
    const loader = loaderOf({ sql: SQL, timeout: '300ms' });
    if (which === 'that was described') await eventually(async () => isLoaded(await loadBy(loader, '1')));
    await withPostgres(pair.url, async (client) => {
      await client.query('begin; lock table users in access exclusive mode');
      const loading = Promise.all([loadBy(loader, '1'), loadBy(loader, '1'), loadBy(loader, '1')]);
      for (const { kind, ...rest } of await loading)
        expect({ kind, ...rest }).toMatchObject({
          kind: 'failed',
          why: expect.stringMatching(/^(timeout|busy)$/) as string,
        });
      expect([pool.inUse, pool.waiting]).toEqual([0, 0]);
      await eventually(async () => expect(await working()).toEqual([]));
      await client.query('commit');
    });
    await allIsWell();
  },
);

it('a load that stands in the way of recovery on a standby may work later', async () => {
  const url = pair.standby?.url ?? '';
  const there = readerPool(url);
  try {
    await run('alter system set max_standby_streaming_delay = 0', url);
    await run('select pg_reload_conf()', url);
    const loading = loadBy(loaderOf(SLOW, there), '1');
    await eventually(async () => expect(await working(url)).toHaveLength(1));
    await run('alter table users add other int');
    expect(await loading).toMatchObject({ why: 'unavailable', detail: expect.stringContaining('40001') as string });
    await pair.caughtUp();
    await allIsWell(there, url);
  } finally {
    await there.close(1000);
  }
});

it('a password that was changed concerns new connections, says so, and no longer than it is wrong', async () => {
  isLoaded(await loadBy(loaderOf({ sql: SQL }), '1'));
  await run(`alter role reader password 'other'`);
  isLoaded(await loadBy(loaderOf({ sql: SQL }), '1'));
  await run(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'loader'`);
  await eventually(async () =>
    expect(await loadBy(loaderOf({ sql: SQL }), '1')).toMatchObject({
      ...{ kind: 'failed', why: 'error', detail: expect.stringContaining('28P01') as string },
    }),
  );
  await run(`alter role reader password 'reader'`);
  await allIsWell();
});

it('plans and settings that are thrown away under a load, as poolers do between two of them, are made again', async () => {
  const loader = loaderOf({ sql: SQL });
  // Longer than the setting allows, and far shorter than the statement needs that sets it anew.
  const slower = loaderOf({ sql: 'select id, name from users, pg_sleep(1.2) where id = $1' });
  for (const [how, then] of [
    ['discard all', loader],
    ['deallocate all', loader],
    ["set timezone = 'Asia/Kolkata'; set statement_timeout = '1s'", slower],
  ] as const) {
    isLoaded(await loadBy(then, '1'));
    await pool.use((connection) => connection.send({ text: how }), { timeoutMs: 5_000 });
    isLoaded(await loadBy(then, '1'));
  }
  await allIsWell();
});
