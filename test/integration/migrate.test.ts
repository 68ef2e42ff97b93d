import { describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../kit/index.ts';
import { withPostgres } from '../kit/names.ts';
import type { App } from './support/app.ts';
import { tidemark } from './support/command.ts';
import { eventually } from './support/eventually.ts';
import { useStack } from './support/stack.ts';

// `tidemark migrate`, and what its functions do inside the application's transactions.

const used = useStack({
  redis: false,
  initSql: 'create table users (id int primary key)',
  config: { namespaces: { users: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] } } },
  env: { sidecar: { TIDEMARK_SESSION_TIMEOUT: '1m', TIDEMARK_MAX_STALENESS: '1m' } },
});
const onlyIfCached = { 'cache-control': 'only-if-cached' };

const migrate = (...args: string[]) => tidemark(['migrate', ...args], { TIDEMARK_POSTGRES_URL: used.stack.postgres });
const sql = (text: string, values?: unknown[]) => used.stack.sql(text, values);
const [functions, upToDate] = ['1: functions that purge', /^Schema tidemark of database \S+ is up to date\.$/m];

/** Runs SQL as a role that may do nothing but log in; its address. */
async function stranger(): Promise<string> {
  await sql(
    `do $$ begin create role tidemark_stranger login password 'x'; exception when duplicate_object then end $$`,
  );
  const url = new URL(used.stack.postgres);
  url.username = 'tidemark_stranger';
  url.password = 'x';
  return url.href;
}

describe('tidemark migrate', () => {
  it('says what a role needs that may not make the schema, and does nothing', async () => {
    const { code, stderr } = await tidemark(['migrate'], { TIDEMARK_POSTGRES_URL: await stranger() });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /the role may not .*permission denied[\s\S]*GRANT CREATE ON DATABASE \S+ TO tidemark_stranger;/,
    );
    expect(await sql("select 1 from pg_namespace where nspname = 'tidemark'")).toEqual([]);
  });

  it('does nothing in a schema of somebody else, who could have it do anything', async () => {
    onTestFinished(() => sql('drop schema tidemark cascade; drop role tidemark_trap').then(() => undefined));
    await sql(`
      create role tidemark_trap;
      create schema tidemark authorization tidemark_trap;
      set role tidemark_trap;
      create table tidemark.migrations (version int, name text, applied_at timestamptz, applied_by text);
      create function tidemark.spring() returns trigger language plpgsql as $$ begin
        alter role tidemark_trap superuser; return new; end $$;
      create trigger spring before insert on tidemark.migrations for each row execute function tidemark.spring();
      reset role`);
    const { code, stderr } = await migrate();
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/schema tidemark is owned by tidemark_trap, expected \S+:.*Run it as tidemark_trap/),
    ]);
    expect(await sql("select rolsuper from pg_roles where rolname = 'tidemark_trap'")).toEqual([{ rolsuper: false }]);
  });

  it.each([
    ['migrate', ['migrate']],
    ['drop-slot', ['drop-slot', '--yes']],
    ['selftest', ['selftest']],
  ])('(or %s) says so where there is no Postgres, or another password is wanted', async (_name, args) => {
    const nobody = `127.0.0.1:${await freePort()}`;
    const wrong = new URL(used.stack.postgres);
    wrong.password = 'wrong';
    for (const [url, reason] of [
      [`postgres://me@${nobody}/shop`, `connect ECONNREFUSED ${nobody}`],
      [wrong.href, 'password authentication failed'],
    ] as const) {
      const env = { TIDEMARK_POSTGRES_URL: url, TIDEMARK_SOURCE: 'main', TIDEMARK_URL: 'http://127.0.0.1:7070' };
      const { code, stderr } = await tidemark(args, env);
      expect([code, stderr]).toEqual([1, expect.stringContaining(`Postgres cannot be used: ${reason}`)]);
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    }
  });

  it('does all of it once, whoever else does the same', async () => {
    const ended = await Promise.all([migrate(), migrate(), migrate()]);
    expect(ended.map(({ code, stderr }) => [code, stderr])).toEqual([0, 0, 0].map((code) => [code, '']));
    expect(ended.filter(({ stdout }) => stdout.includes(functions))).toHaveLength(1);
    for (const { stdout } of ended) expect(stdout).toMatch(upToDate);
    expect(await sql('select version, name from tidemark.migrations')).toEqual([
      { version: 1, name: 'functions that purge' },
      { version: 2, name: 'tables of writes that wait' },
    ]);
  });

  it('needs no rights where nothing is to be done', async () => {
    const { code, stdout } = await tidemark(['migrate'], { TIDEMARK_POSTGRES_URL: await stranger() });
    expect([code, stdout]).toEqual([0, expect.stringMatching(upToDate)]);
  });

  it('prints what a person can run instead, twice too', async () => {
    const { code, stdout } = await tidemark(['migrate', '--print'], {});
    expect(code).toBe(0);
    await sql('drop schema tidemark cascade');
    await sql(stdout);
    await sql(stdout);
    expect((await migrate()).stdout).not.toContain(functions);
  });

  it('refuses a schema that is newer than it is, and changes nothing', async () => {
    await sql("insert into tidemark.migrations (version, name) values (999, 'of the future')");
    const { code, stderr } = await migrate();
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining('found version 999 of schema tidemark, expected at most'),
    ]);
    await sql('delete from tidemark.migrations where version = 999');
  });

  it('tells about itself', async () => {
    const { code, stdout } = await tidemark(['migrate', '--help'], {});
    expect([code, stdout]).toEqual([0, expect.stringMatching(/Usage: tidemark migrate[\s\S]*TIDEMARK_POSTGRES_URL/)]);
  });
});

describe('its functions', () => {
  const app = (): App => used.apps[0] as App;

  async function cache(...keys: string[]): Promise<void> {
    for (const key of keys) {
      const tags = key.startsWith('page') ? ['pages'] : [];
      // Refused as long as a purge of before is announced and not known to be visible.
      await eventually(async () => {
        const { lease } = await app().get('users', key, { 'cache-control': 'no-cache' });
        expect((await app().put('users', key, key, { lease, tags })).status).toBeOneOf([201, 204]);
      });
    }
  }

  /** Which of these are cached, once everything was applied that was committed before. */
  async function cached(...keys: string[]): Promise<string[]> {
    const [{ lsn }] = (await sql('select pg_current_wal_insert_lsn()::text as lsn')) as [{ lsn: string }];
    const found: string[] = [];
    for (const key of keys) {
      const { status } = await app().get('users', key, { ...onlyIfCached, 'tidemark-min-lsn': lsn });
      if (status === 200) found.push(key);
    }
    return found;
  }

  it('[I11] purge keys, tags, prefixes and namespaces when their transaction commits', async () => {
    const keys = ['1', '2', 'page-1', 'mail:a', 'mail:b', 'other'];
    await cache(...keys);
    await sql("begin; insert into users values (1000); select tidemark.purge_keys('users', '1', '2'); commit");
    expect(await cached(...keys)).toEqual(['page-1', 'mail:a', 'mail:b', 'other']);
    await sql("select tidemark.purge_tags('users', variadic array['pages'])");
    expect(await cached(...keys)).toEqual(['mail:a', 'mail:b', 'other']);
    await sql("select tidemark.purge_prefixes('users', 'mail:')");
    expect(await cached(...keys)).toEqual(['other']);
    await cache(...keys);
    await sql("select tidemark.purge('users', array['1'], tags => array['pages'], prefixes => array['mail:a', 'x'])");
    expect(await cached(...keys)).toEqual(['2', 'mail:b', 'other']);
    await sql("select tidemark.purge_namespace('users')");
    expect(await cached(...keys)).toEqual([]);
  });

  it('purge nothing when it is rolled back, nor what a savepoint takes back', async () => {
    await cache('1', '2', '3');
    await sql("begin; select tidemark.purge_namespace('users'); rollback");
    await sql(
      `begin; select tidemark.purge_keys('users', '1');
       savepoint s; select tidemark.purge_keys('users', '2'); rollback to s; commit`,
    );
    expect(await cached('1', '2', '3')).toEqual(['2', '3']);
  });

  it('answer a position, and NULL for an empty list, which purges nothing', async () => {
    await cache('1');
    expect(await sql("select tidemark.purge_keys('users', variadic array[]::text[]) as lsn")).toEqual([{ lsn: null }]);
    expect(await sql("select tidemark.purge('users', keys => '{}', tags => '{}') as lsn")).toEqual([{ lsn: null }]);
    expect(await cached('1')).toEqual(['1']);
    const [{ before }] = (await sql('select pg_current_wal_insert_lsn() as before')) as [{ before: string }];
    expect(await sql("select tidemark.purge_keys('users', 'x') >= $1 as later", [before])).toEqual([{ later: true }]);
  });

  it('take names of any characters as they are', async () => {
    const odd = ['a"b', "it's", 'a\\b', 'ä€😀', 'two\nlines', '{"purge":1}', 'null'];
    await cache(...odd, 'other');
    await sql('select tidemark.purge_keys($1, variadic $2)', ['users', odd]);
    expect(await cached(...odd, 'other')).toEqual(['other']);
  });

  it('need no rights', async () => {
    await cache('1');
    await withPostgres(await stranger(), (client) => client.query("select tidemark.purge_keys('users', '1')"));
    expect(await cached('1')).toEqual([]);
  });

  it.each([
    ["tidemark.purge('Users', keys => '{1}')", "found namespace 'Users', expected a name such as user-profile"],
    ["tidemark.purge(null, keys => '{1}')", 'found namespace NULL'],
    ["tidemark.purge('users')", 'found no keys, tags or prefixes, expected some, or everything => true'],
    ["tidemark.purge('users', keys => array['a', null])", 'found keys[2] = NULL, expected 1 to 512 bytes of UTF-8'],
    ["tidemark.purge_tags('users', 'a', '')", "found tags[2] = ''"],
    ["tidemark.purge_keys('users', repeat('€', 171))", 'of 513 bytes, expected 1 to 512 bytes of UTF-8'],
    [
      "tidemark.purge('users', keys => array[array['a'], array['b']])",
      'found 2 dimensions of keys, expected a plain list',
    ],
    [
      "tidemark.purge_keys('users', variadic array(select n::text from generate_series(1, 1000000) n))",
      'found 1000000 names, expected at most 1000 in one call',
    ],
  ])('refuse %s', async (call, message) => {
    await cache('1');
    await expect(sql(`select ${call}`)).rejects.toThrow(message);
    expect(await cached('1')).toEqual(['1']);
  });

  it('[I13] can be called as often as a transaction wants', async () => {
    await cache('7', 'other');
    await sql(`begin; select tidemark.purge_keys('users', variadic array(select (n * 1000 + m)::text from generate_series(0, 999) m))
               from generate_series(0, 99) n; commit`);
    expect(await cached('7')).toEqual([]);
  });
});
