import { parseLsn } from '@tidemark/proto';
import { expect, it } from 'vitest';
import type { App } from './support/app.ts';
import { PATIENT } from './support/patient.ts';
import { eventually } from './support/eventually.ts';
import { useStack } from './support/stack.ts';

// What an application sees when rows change: real Postgres, Kafka and Redis, two sidecars, nothing but HTTP and SQL.

const used = useStack({
  sidecars: 2,
  initSql: `
    create table users (id int primary key, email text not null unique, name text not null);
    alter table users replica identity full;
    create table orders (id bigint primary key, user_id int not null, total int not null);
    alter table orders replica identity full;
    create table notes (id int primary key, body text);
    create table measures (id int, day date, value int, primary key (id, day)) partition by range (day);
    create table measures_2025 partition of measures for values from ('2025-01-01') to ('2026-01-01');
    create table measures_2026 partition of measures for values from ('2026-01-01') to ('2027-01-01');
    insert into users select n, 'u' || n || '@example.com', 'name-0' from generate_series(1, 200) n;
  `,
  config: {
    namespaces: {
      users: {
        source: 'main',
        invalidate: [
          { table: 'public.users', keys: ['{id}', 'by-email:{email}'] },
          { table: 'public.orders', tags: ['user:{user_id}'] },
        ],
      },
      notes: { source: 'main', invalidate: [{ table: 'public.notes', keys: ['{id}'] }] },
      measures: { source: 'main', invalidate: [{ table: 'public.measures', keys: ['{id}'] }] },
    },
  },
  env: { sidecar: PATIENT },
});

const nameOf = async (id: number): Promise<string> =>
  (await used.stack.sql<{ name: string }>('select name from users where id = $1', [id]))[0]?.name ?? 'none';

/** Puts a value with a fresh lease and sees it served; again, if the purge that follows DDL by a second came between. */
async function cache(
  app: App,
  [namespace, key]: [string, string],
  value: string,
  tags?: readonly string[],
): Promise<void> {
  await eventually(async () => {
    const { lease } = await app.get(namespace, key, { 'cache-control': 'no-cache' });
    expect((await app.put(namespace, key, value, { lease, ...(tags && { tags }) })).status).toBeOneOf([201, 204]);
    expect(await app.get(namespace, key, onlyIfCached)).toMatchObject({ status: 200, body: value });
  });
}

/** Asks for what is cached, without becoming the one who fills it. */
const onlyIfCached = { 'cache-control': 'only-if-cached' };

/** Every sidecar stops serving a key. */
async function gone(namespace: string, key: string): Promise<void> {
  for (const app of used.apps)
    await eventually(async () => expect((await app.get(namespace, key, onlyIfCached)).status).not.toBe(200));
}

/** Puts a value through one sidecar until the other has it from Redis as well. */
async function share(
  [one, other]: [App, App],
  ...[at, value, tags]: [[string, string], string, string[]?]
): Promise<void> {
  await eventually(async () => {
    await cache(one, at, value, tags);
    expect(await other.get(...at, onlyIfCached)).toMatchObject({ status: 200, body: value });
  });
}

/** Every sidecar has applied everything that is committed now. */
async function caughtUp(): Promise<void> {
  const [now] = await used.stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn');
  for (const { url } of used.stack.sidecars) {
    await eventually(
      async () => {
        const { sources } = (await (await fetch(`${url}/v1/status`)).json()) as {
          sources: Record<string, { applied: string }>;
        };
        expect(parseLsn(sources['main']?.applied ?? '0/0')).toBeGreaterThanOrEqual(parseLsn(now?.lsn ?? ''));
      },
      { withinMs: 300_000, everyMs: 50 },
    );
  }
}

function pair(): [App, App] {
  const [a, b] = used.apps;
  if (a === undefined || b === undefined) throw new Error('two sidecars are needed');
  return [a, b];
}

it('serves what one sidecar stored through the other, and no old value from either once the row has changed', async () => {
  const [a, b] = pair();
  // From when on Redis has a log, too.
  await eventually(async () => {
    await cache(a, ['users', '1'], await nameOf(1));
    expect(await b.get('users', '1', onlyIfCached)).toMatchObject({
      status: 200,
      body: 'name-0',
      cacheStatus: expect.stringContaining('detail=l2') as string,
    });
  });
  await used.stack.sql("update users set name = 'name-1' where id = 1");
  await gone('users', '1');
  expect(await a.read('users', '1', () => nameOf(1))).toBe('name-1');
  await eventually(async () => expect(await b.read('users', '1', () => nameOf(1))).toBe('name-1'));
});

it('[I5] refuses a fill that was read before the change and arrives after it', async () => {
  const [a, b] = pair();
  const { lease } = await a.get('users', '2');
  expect(lease).toBeDefined();
  const old = await nameOf(2);
  await cache(b, ['users', '2'], old);
  await used.stack.sql("update users set name = 'name-1' where id = 2");
  await gone('users', '2');
  // The one that gave the lease has no value to lose: that it has heard of the change is seen by its position only.
  await caughtUp();
  expect((await a.put('users', '2', old, { lease })).status).toBe(409);
  for (const app of used.apps) expect((await app.get('users', '2')).body).not.toBe(old);
});

it('evicts the old and the new key when a primary key or another key column changes', async () => {
  const [a] = pair();
  await cache(a, ['users', '3'], 'three');
  await cache(a, ['users', '3000'], 'nobody yet');
  await cache(a, ['users', 'by-email:u3@example.com'], 'three');
  await cache(a, ['users', 'by-email:new@example.com'], 'nobody yet');
  await used.stack.sql("update users set id = 3000, email = 'new@example.com' where id = 3");
  for (const key of ['3', '3000', 'by-email:u3@example.com', 'by-email:new@example.com']) await gone('users', key);
});

it('evicts tagged entries in both layers', async () => {
  const [a, b] = pair();
  await share([a, b], ['users', 'page-of-4'], 'no orders', ['user:4']);
  await share([a, b], ['users', 'page-of-5'], 'no orders', ['user:5']);
  await used.stack.sql('insert into orders values (1, 4, 10)');
  await gone('users', 'page-of-4');
  expect((await b.get('users', 'page-of-5', onlyIfCached)).status).toBe(200);
  await cache(a, ['users', 'page-of-4'], 'one order', ['user:4']);
  await used.stack.sql('update orders set user_id = 5 where id = 1');
  await gone('users', 'page-of-4');
  await gone('users', 'page-of-5');
});

it('forgets that a row does not exist when it is inserted, and a row when it is deleted', async () => {
  const [a, b] = pair();
  await eventually(async () => {
    const { lease } = await a.get('notes', '1', { 'cache-control': 'no-cache' });
    const put = await a.put('notes', '1', '', { lease, headers: { 'tidemark-absent': '?1' } });
    expect(put.status).toBeOneOf([201, 204]);
    expect(await b.get('notes', '1', onlyIfCached)).toMatchObject({
      status: 404,
      cacheStatus: expect.stringContaining('negative') as string,
    });
  });
  await used.stack.sql("insert into notes values (1, 'here')");
  for (const app of used.apps)
    await eventually(async () =>
      expect((await app.get('notes', '1', onlyIfCached)).cacheStatus).not.toContain('negative'),
    );
  await cache(a, ['notes', '1'], 'here');
  await used.stack.sql('delete from notes where id = 1');
  await gone('notes', '1');
});

it('flushes the namespace on TRUNCATE', async () => {
  const [a] = pair();
  await cache(a, ['notes', '7'], 'seven');
  await cache(a, ['measures', '7'], 'other namespace');
  await used.stack.sql('truncate notes');
  await gone('notes', '7');
  expect((await a.get('measures', '7', onlyIfCached)).status).toBe(200);
});

it('follows rows of partitions under the name of their root, TRUNCATE of one and new ones included', async () => {
  const [a] = pair();
  await cache(a, ['measures', '1'], 'none');
  await used.stack.sql("insert into measures values (1, '2025-05-05', 10)");
  await gone('measures', '1');
  await cache(a, ['measures', '1'], '10');
  await used.stack.sql("update measures set day = '2026-05-05' where id = 1");
  await gone('measures', '1');
  await cache(a, ['measures', '1'], '10');
  await used.stack.sql('truncate measures_2026');
  await gone('measures', '1');
  await used.stack.sql(
    "create table measures_2027 partition of measures for values from ('2027-01-01') to ('2028-01-01')",
  );
  await cache(a, ['measures', '1'], 'none');
  await used.stack.sql("insert into measures values (1, '2027-05-05', 20)");
  await gone('measures', '1');
  await cache(a, ['measures', '1'], '20');
  await used.stack.sql('alter table measures detach partition measures_2027');
  await gone('measures', '1');
});

it('goes on evicting while columns are added, dropped and renamed, and coarser when a rule has lost its column', async () => {
  const [a] = pair();
  await used.stack.sql("insert into notes values (20, 'a')");
  await cache(a, ['notes', '20'], 'a');
  await used.stack.sql("alter table notes add column extra int default 7; update notes set body = 'b' where id = 20");
  await gone('notes', '20');
  await cache(a, ['notes', '20'], 'b');
  await used.stack.sql(
    "alter table notes drop column extra; alter table notes rename column body to text; update notes set text = 'c' where id = 20",
  );
  await gone('notes', '20');
  await cache(a, ['notes', '20'], 'c');
  await used.stack.sql("alter table notes rename column id to number; update notes set text = 'd' where number = 20");
  await gone('notes', '20');
  await used.stack.sql('alter table notes rename column number to id');
});

it('[I13] survives a transaction of a million rows: nothing stale once it is applied', async () => {
  const [a] = pair();
  await cache(a, ['users', 'page-of-8'], 'no orders', ['user:8']);
  await used.stack.sql('insert into orders select n, n % 200, 0 from generate_series(100, 1000099) n');
  await caughtUp();
  for (const app of used.apps) expect((await app.get('users', 'page-of-8', onlyIfCached)).status).not.toBe(200);
}, 600_000);

it("[I11] purges everywhere: by DELETE, and by a message inside the application's own transaction", async () => {
  const [a, b] = pair();
  await share([a, b], ['users', '9'], 'nine');
  await eventually(async () => expect((await b.delete('users', '9')).status).toBe(204));
  expect((await b.get('users', '9', onlyIfCached)).status).toBe(404);
  await gone('users', '9');
  await cache(a, ['users', '10'], 'ten', ['ten']);
  await used.stack.sql(
    `begin; select pg_logical_emit_message(true, 'tidemark', '{"purge":[{"namespace":"users","tags":["ten"]}]}'); rollback`,
  );
  await used.stack.sql(
    `begin; select pg_logical_emit_message(true, 'tidemark', '{"purge":[{"namespace":"users","keys":["9"]}]}'); commit`,
  );
  await gone('users', '9');
  expect((await a.get('users', '10', onlyIfCached)).status).toBe(200);
  await used.stack.sql(
    `select pg_logical_emit_message(false, 'tidemark', '{"purge":[{"namespace":"users","tags":["ten"]}]}')`,
  );
  await gone('users', '10');
});
