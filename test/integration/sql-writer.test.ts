import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startPostgres, type PostgresServer } from '../kit/index.ts';
import { eventually } from './support/eventually.ts';
import { bodyOf, writingBySql, type UnderTest, type Writing } from './support/sql-writing.ts';

// Writes by SQL as Postgres really does and refuses them: what becomes of each, and what is in the database then.

const SCHEMA = `
  create table items (id text primary key, body text, total int not null default 0);
  create table lines (id text primary key);
  create table strict (id text primary key, body text not null check (body <> 'forbidden'));
  create view visible as select id, body from strict where body <> 'hidden' with check option;
  create function add_up() returns trigger language plpgsql as $$ begin
    update items set total = length(body) where id = new.id and total <> length(body); return null; end $$;
  create constraint trigger add_up after insert or update on items deferrable initially deferred
    for each row execute function add_up();
  create sequence attempts;
  create function once_failing(id text, failures int, state text) returns text language plpgsql as $$ begin
    if nextval('attempts') <= failures then raise exception 'not yet' using errcode = state; end if;
    return id; end $$;
  create function refusing(state text) returns text language plpgsql as $$ begin
    raise exception 'because of %', state using errcode = state; end $$`;

let postgres: PostgresServer;
beforeAll(async () => {
  postgres = await startPostgres();
  await sql(SCHEMA);
});
afterAll(() => postgres?.stop());

async function client(): Promise<pg.Client> {
  const made = new pg.Client({ connectionString: postgres.url });
  made.on('error', () => undefined);
  await made.connect();
  onTestFinished(() => made.end().catch(() => undefined));
  return made;
}

async function sql(text: string): Promise<Record<string, unknown>[]> {
  const made = new pg.Client({ connectionString: postgres.url });
  await made.connect();
  try {
    return (await made.query<Record<string, unknown>>(text)).rows;
  } finally {
    await made.end();
  }
}

const writing = (options: Omit<Writing, 'url'> & { url?: string }): UnderTest =>
  writingBySql({ url: postgres.url, ...options });

const UPSERT = 'insert into items (id, body) values ($1, $2) on conflict (id) do update set body = excluded.body';
const READ = 'select id, body, total from items where id = $1';
/** An advisory lock. */
const GATE = 7;

it('[I18] what is kept is what COMMIT leaves: deferred triggers have run before it is read', async () => {
  const { put } = writing({ put: UPSERT, read: READ });
  const kept = bodyOf(await put('deferred', 'twelve chars'));
  const [row] = await sql("select to_jsonb(items) as row from items where id = 'deferred'");
  expect(JSON.parse(kept ?? '')).toEqual(row?.['row']);
  expect(row?.['row']).toMatchObject({ total: 12 });
});

/** The same address with settings that the connection begins with. */
function withSettings(settings: Readonly<Record<string, string>>): string {
  const url = new URL(postgres.url);
  const options = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  url.searchParams.set('options', options.join(' '));
  return url.href;
}

describe('what Postgres undoes for the sake of others is done again', () => {
  it('deadlocks between writers that take the same rows in another order', async () => {
    await sql("insert into items (id, body) values ('da', 'start'), ('db', 'start')");
    const url = withSettings({ deadlock_timeout: '20ms' });
    const both = (first: string, second: string): Omit<Writing, 'url'> & { url: string } => ({
      // A statement that locks one row, waits until the other writer has the other, and then wants that.
      put: `with one as (update items set body = $2 where id = '${first}' returning pg_advisory_xact_lock_shared(${GATE})::text)
            update items set body = $2 || (select count(*) from one) where id = '${second}' and $1 <> ''`,
      url,
    });
    const [there, back] = [writing(both('da', 'db')), writing(both('db', 'da'))];
    const gate = await client();
    await gate.query(`select pg_advisory_lock(${GATE})`);
    const ending = Promise.all([there.put('x', 'there-'), back.put('x', 'back-')]);
    await eventually(async () =>
      expect(
        await sql(`select 1 from pg_locks where locktype = 'advisory' and objid = ${GATE} and not granted`),
      ).toHaveLength(2),
    );
    await gate.query(`select pg_advisory_unlock(${GATE})`);
    expect((await ending).map(({ kind }) => kind)).toEqual(['committed', 'committed']);
    // Both rows are of the one that came last, whole.
    const rows = await sql("select distinct body like 'there%' as there from items where id in ('da', 'db')");
    expect(rows).toHaveLength(1);
    expect(there.tries() + back.tries()).toBeGreaterThan(2);
  });

  it.each(['40001', '40P01'])('%s of whatever statement', async (state) => {
    await sql("select setval('attempts', 1, false)");
    const { put } = writing({
      put: `insert into items (id, body) values (once_failing('again-${state}', 3, '${state}'), $1)`,
    });
    expect(await put('again')).toMatchObject({ kind: 'committed' });
    expect(await sql(`select body from items where id = 'again-${state}'`)).toEqual([{ body: 'again' }]);
  });

  it('four times and no more, and nothing is written', async () => {
    await sql("select setval('attempts', 1, false)");
    const { put } = writing({ put: "insert into items (id, body) values (once_failing('never', 99, '40001'), $1)" });
    expect(await put('never')).toMatchObject({ kind: 'failed', why: 'unavailable', sqlState: '40001' });
    expect(await sql('select last_value::int as n from attempts')).toEqual([{ n: 4 }]);
  });
});

describe('a pool that is full', () => {
  it('lets writes wait in order, refuses those beyond, and goes on', async () => {
    const { put, pool } = writing({ put: UPSERT, most: 1, mostWaiting: 2 });
    await put('full', 'start');
    const other = await client();
    await other.query("begin; update items set body = 'theirs' where id = 'full'");
    const first = put('full', 'first');
    await eventually(() => expect(pool.inUse).toBe(1));
    const [second, third] = [put('full', 'second'), put('full', 'third')];
    expect(pool.waiting).toBe(2);
    expect(await put('full', 'fourth')).toMatchObject({ kind: 'failed', why: 'busy' });
    await other.query('commit');
    expect(await Promise.all([first, second, third])).toMatchObject([1, 2, 3].map(() => ({ kind: 'committed' })));
    expect(await sql("select body from items where id = 'full'")).toEqual([{ body: 'third' }]);
    expect([pool.inUse, pool.waiting]).toEqual([0, 0]);
  });

  it('does not keep a write waiting for longer than it may, and does not begin it then', async () => {
    const { put } = writing({ put: UPSERT, most: 1, timeoutMs: 400 });
    // However long the machine takes to connect.
    await eventually(async () => expect(await put('late', 'start')).toMatchObject({ kind: 'committed' }));
    const other = await client();
    await other.query("begin; update items set body = 'theirs' where id = 'late'");
    const [first, second] = await Promise.all([put('late', 'first'), put('late', 'second')]);
    expect(first).toMatchObject({ kind: 'failed', why: 'timeout' });
    expect(second).toMatchObject({ kind: 'failed', why: expect.stringMatching(/^(?:busy|timeout|unavailable)$/) });
    await other.query('commit');
    expect(await sql("select body from items where id = 'late'")).toEqual([{ body: 'theirs' }]);
  });
});

it.each<[string, boolean | undefined]>([
  ['returning true as created', true],
  ['returning null::boolean as created', undefined],
  ["returning 'yes' as created", undefined],
  ['returning id, false as created, body', false],
  ['returning id', undefined],
])('%s: %s', async (returning, created) => {
  const { put } = writing({ put: `${UPSERT} ${returning}` });
  expect(await put('returned', 'x')).toMatchObject({ kind: 'committed', created });
});

it('several rows are one write, told by the first, and all of them are there', async () => {
  const { put } = writing({
    put: 'insert into items (id, body) select $1 || n, $2 from generate_series(1, 3) n returning body is null as created',
  });
  expect(await put('several', 'x')).toMatchObject({ kind: 'committed', created: false });
  expect(await sql("select count(*)::int as n from items where id like 'several%'")).toEqual([{ n: 3 }]);
});

describe('what Postgres refuses', () => {
  it('a text with a NUL', async () => {
    expect(await writing({ put: UPSERT }).put('nul', 'a\0b')).toMatchObject({ why: 'invalid', sqlState: '22021' });
  });

  it('a statement that begins or ends a transaction of its own', async () => {
    await sql('create or replace procedure ends(id text) language plpgsql as $$ begin commit; end $$');
    expect(await writing({ put: 'call ends($1)' }).put('x')).toMatchObject({ why: 'misconfigured', sqlState: '2D000' });
  });

  it.each<[string, string, object]>([
    ['a check', "insert into strict values ($1, 'forbidden')", { why: 'conflict', sqlState: '23514' }],
    ['a check of a view', "insert into visible values ($1, 'hidden')", { why: 'conflict', sqlState: '44000' }],
    ['a missing value', 'insert into strict (id) values ($1)', { why: 'conflict', sqlState: '23502' }],
    ['a function', "insert into items (id, body) values ($1, refusing('P0001'))", { why: 'invalid' }],
    ['a function by its own code', "insert into items (id, body) values ($1, refusing('UE042'))", { why: 'invalid' }],
    ['an assertion', "insert into items (id, body) values ($1, refusing('P0004'))", { why: 'invalid' }],
    [
      'a value too large for its index',
      "insert into lines select string_agg(md5($1 || n), '') from generate_series(1, 900) n",
      { why: 'invalid', sqlState: '54000' },
    ],
    ['no such table', 'insert into nowhere values ($1)', { why: 'misconfigured', sqlState: '42P01' }],
    [
      'what it cannot do',
      'update items set body = $1 returning (select 1 from items group by () for update)',
      { why: 'misconfigured', sqlState: '0A000' },
    ],
    ['what it does not allow', "insert into items (id, body) values ($1, refusing('42501'))", { why: 'misconfigured' }],
  ])('%s', async (_, put, expected) => {
    expect(await writing({ put }).put('refused')).toMatchObject({ kind: 'failed', ...expected });
  });

  it('to wait for a lock any longer', async () => {
    await sql("insert into items (id, body) values ('locked', 'start')");
    const other = await client();
    await other.query("begin; update items set body = 'theirs' where id = 'locked'");
    const waiting = writing({ put: UPSERT, url: withSettings({ lock_timeout: '20ms' }) });
    expect(await waiting.put('locked')).toMatchObject({ kind: 'failed', why: 'timeout', sqlState: '55P03' });
    await other.query('rollback');
    expect(await waiting.put('locked', 'mine')).toMatchObject({ kind: 'committed' });
  });
});
