import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { startPostgres, type PostgresServer } from '../kit/index.ts';
import { withPostgres } from '../kit/names.ts';
import { CommitProxy } from './support/commit-proxy.ts';
import { eventually } from './support/eventually.ts';
import { writingBySql, type UnderTest } from './support/sql-writing.ts';
import { makeCommitsWait } from './support/waiting-commits.ts';

// Writes whose COMMIT was sent and never answered: nobody knows what came of them, but when they are over is known.

let postgres: PostgresServer;
let proxy: CommitProxy;
beforeAll(async () => {
  postgres = await startPostgres();
  await sql('create table items (id text primary key, body text)');
});
afterAll(() => postgres?.stop());
beforeEach(async () => {
  proxy = await CommitProxy.start(postgres.port);
});

const sql = (text: string): Promise<Record<string, unknown>[]> =>
  withPostgres(postgres.url, async (client) => (await client.query<Record<string, unknown>>(text)).rows);

const bodyOf = async (key: string): Promise<unknown> =>
  (await sql(`select body from items where id = '${key}'`))[0]?.['body'];

const start = (key: string): Promise<unknown> => sql(`insert into items values ('${key}', 'v1')`);

/** Transactions that could still become visible. */
const underWay = async (): Promise<unknown> =>
  (
    await sql(
      `select count(*)::int as n from pg_stat_activity where application_name = 'writer under test' and backend_xid is not null`,
    )
  )[0]?.['n'];

/** Enough to come to COMMIT on any machine over a connection that is there; whose answer is awaited for as long. */
const TIMEOUT_MS = 5_000;
/** Likewise, to find the transaction and end it. */
const END_MS = 20_000;

async function writing({ role, endMs = END_MS }: { role?: string; endMs?: number } = {}): Promise<UnderTest> {
  onTestFinished(() => proxy.stop());
  const url = new URL(postgres.url);
  if (role !== undefined) Object.assign(url, { username: role, password: 'x' });
  url.port = `${proxy.port}`;
  const put = 'insert into items values ($1, $2) on conflict (id) do update set body = excluded.body';
  const used = writingBySql({ url: url.href, put, timeoutMs: TIMEOUT_MS, endMs });
  await eventually(async () => expect(await used.put('connected')).toMatchObject({ kind: 'committed' }));
  return used;
}

const unknown = { kind: 'failed', why: 'unknown' };

it.each(['cut', 'swallow'] as const)('[I18] is over although its answer was lost: %s', async (fault) => {
  const { put } = await writing();
  await start(fault);
  proxy.fault = fault;
  expect(await put(fault, 'v2')).toMatchObject({
    ...unknown,
    isOver: true,
    detail: expect.stringContaining('it is over'),
  });
  expect([await underWay(), await bodyOf(fault)]).toEqual([0, 'v2']);
});

it('[I18] is ended where its COMMIT has not arrived, and does not land later', async () => {
  const { put } = await writing();
  await start('held');
  proxy.fault = 'hold';
  expect(await put('held', 'v2')).toMatchObject({ ...unknown, isOver: true });
  expect([await underWay(), proxy.held]).toEqual([0, 1]);
  proxy.fault = 'pass';
  expect(await put('held', 'v3')).toMatchObject({ kind: 'committed' });
  proxy.letGo();
  await proxy.abandoned();
  expect(await bodyOf('held')).toBe('v3');
});

it('[I18] is ended also by a role that may do nothing but write the table', async () => {
  await sql("create role plain login password 'x'");
  await sql('grant select, insert, update on items to plain');
  const { put } = await writing({ role: 'plain' });
  expect(await put('plain', 'v1')).toMatchObject({ kind: 'committed', value: { kind: 'value' } });
  proxy.fault = 'hold';
  expect(await put('plain', 'v2')).toMatchObject({ ...unknown, isOver: true });
  expect([await underWay(), await bodyOf('plain')]).toEqual([0, 'v1']);
});

it('[I18] that nobody can end is ended by Postgres within its time', async () => {
  const { put } = await writing({ endMs: 1_000 });
  await start('away');
  proxy.fault = 'hold';
  const written = put('away', 'v2');
  await eventually(() => expect(proxy.held).toBe(1));
  proxy.isClosed = true;
  expect(await written).toMatchObject({ ...unknown, isOver: false, detail: expect.stringContaining('may still be') });
  await proxy.abandoned();
  proxy.letGo();
  expect([await underWay(), await bodyOf('away')]).toEqual([0, 'v1']);
});

it('[I18] that waits for a standby is over, and visible to everybody', async () => {
  const { put } = await writing();
  await start('standby');
  await makeCommitsWait(postgres.url, 'nobody');
  onTestFinished(async () => {
    await sql('alter system reset synchronous_standby_names');
    await sql('select pg_reload_conf()');
  });
  expect(await put('standby', 'v2')).toMatchObject({ ...unknown, isOver: true });
  expect([await underWay(), await bodyOf('standby')]).toEqual([0, 'v2']);
});
