import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SqlLoader } from '../../sidecar/src/adapters/sql-loader.ts';
import type { PostgresPool } from '../../sidecar/src/adapters/sql-pool.ts';
import type { ServerIdentity } from '../../sidecar/src/core/server-identity.ts';
import { startPostgres, type PostgresServer } from '../kit/index.ts';
import { withPostgres } from '../kit/names.ts';
import { identityOf, loadBy, readerPool, sqlLoader, textOf } from './support/sql-loader.ts';

// One loader on the real thing: what becomes of values.

const INIT = `
create table users (id int primary key, name text, email text, team int);
insert into users values (1, 'Ada', 'ada@x', 7), (2, null, 'b@x', 7), (3, E'Zoë 😀 \\u00a0"\\\\\\n', 'z@x', null);
create table kinds (id int primary key, big bigint, num numeric, f float8, ts timestamptz, t timestamp, b bytea, j jsonb, js json,
  arr int[], flag boolean, u uuid, fixed char(5), txt text, iv interval);
insert into kinds values (1, 9007199254740993, 12345678901234567890.0987654321, 0.1, '2026-01-02 03:04:05.678901+01', '2026-01-02 03:04:05.678901',
  '\\x00ff10', '{"a": 1.10, "big": 9007199254740993}', '{"b" :  1.00}', '{1,2,null}', true, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'ab', 'text', '1 day 2 hours'),
  (2, null, 'NaN', 'Infinity', null, null, null, null, null, null, null, null, null, null, null);
create function is_even(text) returns boolean language plpgsql as 'begin return $1::int % 2 = 0; end';
create domain even as text check (is_even(value));
create role reader login password 'reader';
grant select on users, kinds to reader;
`;

let postgres: PostgresServer;
let pool: PostgresPool;
let server: ServerIdentity;

beforeAll(async () => {
  postgres = await startPostgres();
  await withPostgres(postgres.url, (client) => client.query(INIT));
  server = await identityOf(postgres.url);
  pool = readerPool(postgres.url);
}, 60_000);
afterAll(async () => {
  await pool?.close(1000);
  await postgres?.stop();
});

const loaderOf = (load: object, maxBytes?: number): SqlLoader =>
  sqlLoader(load, { pool, followed: () => server, ...(maxBytes !== undefined && { maxBytes }) });

/** Body, content type and tags; or how it ended. */
async function seen(settings: object, key: string, maxBytes?: number): Promise<unknown> {
  const loaded = await loadBy(loaderOf(settings, maxBytes), key);
  if (loaded.kind === 'failed') return [loaded.why, loaded.detail];
  if (loaded.kind === 'absent') return 'absent';
  return [Buffer.from(loaded.body).toString(), loaded.contentType, ...(loaded.tags.length > 0 ? [loaded.tags] : [])];
}

const JSON_TYPE = 'application/json';
const TEXT = 'text/plain; charset=utf-8';

describe('a row', () => {
  it('of several columns is a JSON object in their order, exactly as Postgres has it', async () => {
    expect(await seen({ sql: 'select id, name, email from users where id = $1' }, '1')).toEqual([
      '{"id":1,"name":"Ada","email":"ada@x"}',
      JSON_TYPE,
    ]);
    const [text] = (await seen({ sql: 'select * from kinds where id = $1;' }, '1')) as [string];
    expect(text).toBe(
      '{"id":1,"big":9007199254740993,"num":12345678901234567890.0987654321,"f":0.1,"ts":"2026-01-02T02:04:05.678901+00:00",' +
        '"t":"2026-01-02T03:04:05.678901","b":"\\\\x00ff10","j":{"a": 1.10, "big": 9007199254740993},"js":{"b" :  1.00},' +
        '"arr":[1,2,null],"flag":true,"u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","fixed":"ab   ","txt":"text","iv":"1 day 02:00:00"}',
    );
    const [other] = (await seen({ sql: 'select * from kinds where id = $1 -- with a comment' }, '2')) as [string];
    expect(JSON.parse(other)).toMatchObject({ big: null, num: 'NaN', f: 'Infinity', b: null });
    const [unicode] = (await seen({ sql: 'select id, name from users where id = $1' }, '3')) as [string];
    expect(JSON.parse(unicode)).toEqual({ id: 3, name: 'Zoë 😀 \u00a0"\\\n' });
  });

  it.each([
    ['name', TEXT, 'Ada', 'users'],
    ['big', TEXT, '9007199254740993', 'kinds'],
    ['num', TEXT, '12345678901234567890.0987654321', 'kinds'],
    ['ts', TEXT, '2026-01-02 02:04:05.678901+00', 'kinds'],
    ['j', JSON_TYPE, '{"a": 1.10, "big": 9007199254740993}', 'kinds'],
    ['js', JSON_TYPE, '{"b" :  1.00}', 'kinds'],
    ['flag', TEXT, 'true', 'kinds'],
    ['arr', TEXT, '{1,2,NULL}', 'kinds'],
    ['row(id, flag)', TEXT, '(1,t)', 'kinds'],
    ['kinds', TEXT, '(9)', '(select 9) kinds, users'],
    ["interval '1 day'", TEXT, '1 day', 'kinds'],
    ["'text'", TEXT, 'text', 'kinds'],
    ['pg_sleep(0)', TEXT, '', 'kinds'],
    ['id, array[1]', JSON_TYPE, '{"id":1,"array":[1]}', 'kinds'],
  ])('of %s is %s', async (columns, contentType, text, table) => {
    expect(await seen({ sql: `select ${columns} from ${table} where id = $1` }, '1')).toEqual([text, contentType]);
  });

  it('of bytes is those bytes', async () => {
    const loaded = await loadBy(loaderOf({ sql: 'select b from kinds where id = $1' }), '1');
    expect(loaded).toMatchObject({ kind: 'value', contentType: 'application/octet-stream' });
    expect(loaded.kind === 'value' && Buffer.from(loaded.body)).toEqual(Buffer.from([0, 255, 16]));
  });

  it('has the content type and the tags of the configuration', async () => {
    const settings = {
      sql: 'select id, team, name from users where email = $1',
      contentType: 'application/vnd.user+json',
      tags: ['team:{team}', 'user:{id}', 'by:{key}'],
    };
    const tags = ['team:7', 'user:1', 'by:ada@x'];
    expect(await loadBy(loaderOf(settings), 'ada@x')).toMatchObject({ contentType: 'application/vnd.user+json', tags });
    // NULL is empty in tags, as in rules.
    expect(await loadBy(loaderOf(settings), 'z@x')).toMatchObject({ tags: ['team:', 'user:3', 'by:z@x'] });
  });

  it('that is not there, or whose one column is NULL, says that there is nothing', async () => {
    expect(await seen({ sql: 'select id, name from users where id = $1' }, '99')).toBe('absent');
    expect(await seen({ sql: 'select name from users where id = $1' }, '2')).toBe('absent');
    expect(await seen({ sql: "select '' from users where id = $1" }, '2')).toEqual(['', TEXT]);
  });

  it('is asked for by a value, whatever is in it', async () => {
    const sql = 'select id, name from users where email = $1';
    for (const key of ["' or 1=1 --", '$1', "x'; drop table users; --", '{key}', '\\', 'é😀'])
      expect(await seen({ sql }, key)).toBe('absent');
    expect(await seen({ sql: 'select $1::text' }, "'; drop table users; --")).toEqual([
      "'; drop table users; --",
      TEXT,
    ]);
    // What is no number is the number of no row.
    for (const key of ['abc', '99999999999', '1; select 1', ''])
      expect(await seen({ sql: 'select id, name from users where id = $1' }, key)).toBe('absent');
    for (const type of ['json', 'jsonb', 'uuid', 'int[]', 'timestamptz', 'boolean', 'even'])
      expect(await seen({ sql: `select id, name from users where $1::${type} is not null and id = 1` }, '1x')).toBe(
        'absent',
      );
    expect(await seen({ sql: 'select id, name from users where email = $1' }, 'a\0b')).toBe('absent');
  });
});

/** A change of the row invalidates the key as Postgres prints it, so under another spelling a value would stay. */
it('a row has one key, however many texts are its number or uuid to Postgres', async () => {
  const u = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
  const sqlOf = (where: string): object => ({ sql: `select id, txt from kinds where ${where}` });
  const one = ['{"id":1,"txt":"text"}', JSON_TYPE];
  for (const key of ['01', '+1', ' 1', '1 ', '0x1', '-0', '00'])
    expect([key, await seen(sqlOf('id = $1'), key)]).toEqual([key, 'absent']);
  expect(await seen(sqlOf('id = $1'), '1')).toEqual(one);
  expect(await seen(sqlOf('big = $1 and $1 > 5'), '9007199254740993')).toEqual(one);
  expect(await seen(sqlOf('big = $1 and $1 > 5'), '09007199254740993')).toBe('absent');
  expect(await seen(sqlOf('u = $1'), u)).toEqual(one);
  for (const other of [u.toUpperCase(), `{${u}}`, u.replaceAll('-', '')])
    expect(await seen(sqlOf('u = $1'), other)).toBe('absent');
  expect(await seen({ sql: 'select $1::int' }, '-5')).toEqual(['-5', TEXT]);
  expect(await seen({ sql: 'select $1::smallint' }, '0')).toEqual(['0', TEXT]);
  // What is text is as it is.
  expect(await seen({ sql: 'select $1::text' }, '01')).toEqual(['01', TEXT]);
});

describe('rows', () => {
  it('that are two where one is expected are a failure', async () => {
    expect(await seen({ sql: 'select id, name from users where team = $1' }, '7')).toEqual([
      'error',
      'found two rows or more, expected one (or say rows: many)',
    ]);
  });

  it('are a JSON array, in their order', async () => {
    const many = { rows: 'many', tags: ['user:{id}'] };
    const sql = 'select id, name from users where team = $1 order by id desc';
    expect(await seen({ sql, ...many }, '7')).toEqual([
      '[{"id":2,"name":null},{"id":1,"name":"Ada"}]',
      JSON_TYPE,
      ['user:2', 'user:1'],
    ]);
    expect(await seen({ sql, rows: 'many' }, '8')).toEqual(['[]', JSON_TYPE]);
    expect(await seen({ sql: 'select name from users where team = $1 order by id', rows: 'many' }, '7')).toEqual([
      '["Ada",null]',
      JSON_TYPE,
    ]);
  });
});

describe('a value', () => {
  it('that is too large is not loaded', async () => {
    const large = (length: number): object => ({ sql: `select repeat('x', ${length}), 1 from users where id = $1` });
    expect(await seen(large(2000), '1')).toEqual(['too-large', 'the value is larger than 1024 bytes (maxItemBytes)']);
    const text = { sql: "select repeat('é', 512) from users where id = $1" };
    expect(await seen(text, '1')).toEqual(['é'.repeat(512), TEXT]);
    expect(await seen(text, '1', 1023)).toEqual(['too-large', 'the value is larger than 1023 bytes (maxItemBytes)']);
    const bytes = { sql: "select decode(repeat('ab', 1024), 'hex') from users where id = $1" };
    expect(await loadBy(loaderOf(bytes), '1')).toMatchObject({ kind: 'value' });
    expect(await loadBy(loaderOf(bytes, 1023), '1')).toMatchObject({ why: 'too-large' });
    const rows = { sql: 'select i, i from generate_series(1, 100000) i', rows: 'many' };
    expect(await loadBy(loaderOf(rows), '1')).toMatchObject({ why: 'too-large' });
  });

  it('with more tags than an entry may have is a failure, because some change would not evict it', async () => {
    const settings = { sql: 'select i from generate_series(1, 65) i', rows: 'many', tags: ['{i}'] };
    expect(await seen(settings, '1')).toEqual(['error', 'found more tags, expected at most 64 of a value']);
  });
});

describe('a statement', () => {
  it('that takes too long is ended by the server, and the connection goes on', async () => {
    // A connection that is there: to make one is no part of a statement.
    expect(await seen({ sql: 'select id, name from users where id = $1' }, '99')).toBe('absent');
    const slow = loaderOf({ sql: 'select pg_sleep(600)::text || $1', timeout: '100ms' });
    expect(await loadBy(slow, '1')).toMatchObject({ kind: 'failed', why: 'timeout' });
    expect(await seen({ sql: 'select id, name from users where id = $1' }, '99')).toBe('absent');
  });

  it.each([
    ['that writes', 'update users set id = id returning id, name', 'error', '42601'],
    ['that writes in a function', "select setval('s', 1), 2", 'error', '42P01'],
    ['that locks', 'select id, name from users where id = $1 for update', 'error', '42501'],
    ['that is two', 'select 1, 2; select 3, 4', 'error', '42601'],
    ['that names what is not there', 'select id, nothing from users where id = $1', 'error', '42703'],
    ['that may not', 'select * from pg_authid where oid = $1', 'error', '42501'],
    ['that divides by zero', 'select 1 / (id - id), 2 from users where id = $1', 'error', '22012'],
  ])('%s fails and says why', async (_, sql, why, code) => {
    const loaded = await loadBy(loaderOf({ sql }), '1');
    expect(loaded).toMatchObject({ kind: 'failed', why });
    expect(loaded.kind === 'failed' && loaded.detail).toContain(`SQLSTATE ${code}`);
  });

  it('goes on when the columns of its table change', async () => {
    await withPostgres(postgres.url, (client) =>
      client.query(
        'create table shifting (id int); insert into shifting values (1); grant select on shifting to reader',
      ),
    );
    const loader = loaderOf({ sql: 'select * from shifting where id = $1' });
    const text = async (): Promise<string> => {
      const loaded = await loadBy(loader, '1');
      return loaded.kind === 'value' ? `${loaded.contentType} ${textOf(loaded)}` : loaded.kind;
    };
    expect(await text()).toBe(`${TEXT} 1`);
    await withPostgres(postgres.url, (client) => client.query('alter table shifting add more text'));
    expect(await text()).toBe(`${JSON_TYPE} {"id":1,"more":null}`);
    await withPostgres(postgres.url, (client) => client.query('alter table shifting drop more'));
    expect(await text()).toBe(`${TEXT} 1`);
  });

  it('whose one column becomes one of another type has the value as that type has it', async () => {
    const run = (sql: string): Promise<unknown> => withPostgres(postgres.url, (client) => client.query(sql));
    await run(`create domain picture as bytea; create table turning (id int, v text); grant select on turning to reader;
      insert into turning values (1, '[1]')`);
    const loader = loaderOf({ sql: 'select v from turning where id = $1' });
    const turned = async (type: string, using: string): Promise<unknown> => {
      await run(`alter table turning alter v type ${type} using ${using}`);
      const loaded = await loadBy(loader, '1');
      return loaded.kind === 'value' ? [loaded.contentType, textOf(loaded)] : loaded;
    };
    expect(await turned('text', 'v')).toEqual([TEXT, '[1]']);
    expect(await turned('json', 'v::json')).toEqual([JSON_TYPE, '[1]']);
    expect(await turned('jsonb', 'v::jsonb')).toEqual([JSON_TYPE, '[1]']);
    expect(await turned('bytea', "convert_to(v::text, 'UTF8')")).toEqual(['application/octet-stream', '[1]']);
    expect(await turned('picture', 'v')).toEqual(['application/octet-stream', '[1]']);
    expect(await turned('int', "(convert_from(v, 'UTF8')::json->>0)::int")).toEqual([TEXT, '1']);
    expect(await turned('bigint', 'v')).toEqual([TEXT, '1']);
  });
});
