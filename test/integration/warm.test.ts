import pg from 'pg';
import { expect, it } from 'vitest';
import { freePort } from '../kit/index.ts';
import { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { metric } from './support/l2.ts';
import { showLogsOnFailure, useStack } from './support/stack.ts';

// What sidecars read into memory before anybody asks, over a real Postgres, Kafka and Redis.

const HOT = 20;
const used = useStack({
  initSql: `create table users (id int primary key, name text not null);
            insert into users select n, 'user ' || n from generate_series(1, 20000) n`,
  // A Redis that is slow for a moment is waited for: what is told at an end, or shared, is told and shared once.
  env: { sidecar: ({ postgres }) => ({ TIDEMARK_LOAD_URL: postgres, TIDEMARK_REDIS_DEADLINE: '10s' }) },
  config: {
    namespaces: {
      users: {
        source: 'main',
        load: { sql: 'select name from users where id = $1::int' },
        warm: { atStart: 100, sql: 'select id from users where id > 19900 order by id', most: 50, rate: '2000/s' },
        invalidate: [{ table: 'public.users', keys: ['{id}'] }],
      },
      // Whoever has the lock decides when a load, or the query for keys, ends.
      locked: {
        source: 'main',
        load: {
          sql: 'select name from users where id = $1::int and pg_advisory_xact_lock_shared(id % 2) is not null',
          timeout: '10s',
        },
        warm: {
          atStart: 0,
          sql: 'select id from users where id > 19990 and pg_advisory_xact_lock_shared(2) is not null',
          concurrency: 16,
          rate: '2000/s',
        },
        invalidate: [{ table: 'public.users', keys: ['{id}'] }],
      },
      // As many keys as one order may name take longer than any test.
      slow: {
        source: 'main',
        load: { sql: 'select name from users where id = $1::int' },
        warm: { atStart: 0, rate: '40/s' },
        invalidate: [{ table: 'public.users', keys: ['{id}'] }],
      },
      // Applications load it, so only what others have put into Redis can be warmed.
      pages: { source: 'main', warm: {}, invalidate: [{ table: 'public.users', keys: ['user:{id}'] }] },
    },
  },
});
const onlyIfCached = { 'cache-control': 'only-if-cached' };

interface Warming {
  readonly id: string;
  readonly namespace: string;
  readonly by: string;
  readonly state: string;
  readonly end: string | null;
  readonly detail: string | null;
  readonly total: number | null;
  readonly done: number;
  readonly results: Readonly<Record<string, number>>;
  readonly rate: number;
}

async function warmings(url: string): Promise<readonly Warming[]> {
  return ((await (await fetch(`${url}/v1/warm`)).json()) as { warmings: Warming[] }).warmings;
}

async function warm(url: string, order: object): Promise<string> {
  const answer = await fetch(`${url}/v1/warm`, { method: 'POST', body: JSON.stringify(order) });
  const { id } = (await answer.json()) as { id: string };
  expect(answer.status).toBe(202);
  return id;
}

const ended = (url: string, id: string): Promise<Warming> =>
  eventually(
    async () => {
      const warming = (await (await fetch(`${url}/v1/warm/${id}`)).json()) as Warming;
      expect(warming.state).toBe('ended');
      return warming;
    },
    { withinMs: 60_000, everyMs: 20 },
  );

it('a second sidecar has what the first one reads most, without a read by the application, and coherent', async () => {
  showLogsOnFailure(used.stack);
  const [first] = used.apps as [App];
  const keys = Array.from({ length: HOT }, (_, i) => String(i + 1));
  const { lease } = await first.get('pages', 'user:1');
  await first.put('pages', 'user:1', 'page 1', { lease });
  for (let round = 0; round < 150; round += 1) {
    await Promise.all(keys.map((key) => first.get('users', key)));
    await first.get('pages', 'user:1');
  }
  // What lives for less than a minute tells at its end.
  await used.stack.sidecars[0]?.stop();
  const second = await used.stack.addSidecar();
  const app = new App(second.url);
  const byName = await eventually(
    async () => {
      const found = (await warmings(second.url)).filter(({ by }) => by === 'start');
      expect(found.map(({ state }) => state)).toEqual(['ended', 'ended']);
      return Object.fromEntries(found.map((each) => [each.namespace, each]));
    },
    { withinMs: 90_000 },
  );
  expect(byName['users']).toMatchObject({ end: 'done' });
  expect(byName['users']?.total).toBeGreaterThanOrEqual(HOT * 0.9);
  expect(byName['pages']).toMatchObject({ end: 'done', results: { shared: 1 } });
  // Besides, there may be the key that was asked for until this namespace could be cached.
  const { total = 0, results } = byName['pages'] ?? {};
  expect((total ?? 0) - (results?.['absent'] ?? 0)).toBe(1);
  const found = await Promise.all(keys.map((key) => app.get('users', key, onlyIfCached)));
  const inMemory = found.filter(({ cacheStatus }) => cacheStatus.includes('detail=l1')).length;
  const why = JSON.stringify([byName, found[0], await (await fetch(`${second.url}/v1/status`)).json()]);
  expect(inMemory, why).toBeGreaterThanOrEqual(HOT * 0.9);
  expect((await app.get('pages', 'user:1', onlyIfCached)).cacheStatus).toContain('detail=l1');
  await used.stack.sql("update users set name = 'changed' where id <= 3");
  await eventually(async () => {
    const bodies = await Promise.all(['1', '2', '3'].map(async (key) => (await app.get('users', key)).body));
    expect(bodies).toEqual(['changed', 'changed', 'changed']);
  });
  const metrics = await (await fetch(`${second.admin}/metrics`)).text();
  expect(metrics).toContain('tidemark_warm_keys_total{namespace="pages",result="shared"} 1');
  expect(metrics).toContain('tidemark_warmings_total{namespace="users",end="done"} 1');
}, 300_000);

it('keys are warmed on demand: those that are named, and those that SQL yields; progress can be seen, and it can be ended', async () => {
  const { url } = used.stack.sidecars[1]!;
  const app = new App(url);
  const named = await ended(url, await warm(url, { namespace: 'users', keys: ['501', '502', 'nobody'] }));
  // That there is no such user is worth keeping too.
  expect(named).toMatchObject({ end: 'done', total: 3, results: { loaded: 3 } });
  expect((await app.get('users', '501', onlyIfCached)).body).toBe('user 501');
  const yielded = await ended(url, await warm(url, { namespace: 'users', sql: true }));
  expect(yielded).toMatchObject({ end: 'done', total: 50, done: 50 });
  expect((await app.get('users', '19950', onlyIfCached)).body).toBe('user 19950');
  expect((await app.get('users', '19000', onlyIfCached)).status).not.toBe(200);
  const id = await warm(url, { namespace: 'slow', keys: Array.from({ length: 9000 }, (_, i) => String(1001 + i)) });
  await eventually(async () => {
    const warming = (await warmings(url)).find((each) => each.id === id);
    expect(warming?.done).toBeGreaterThan(20);
    expect(warming?.rate).toBeGreaterThan(0);
  });
  expect((await fetch(`${url}/v1/warm/${id}`, { method: 'DELETE' })).status).toBe(204);
  const { end, done } = await ended(url, id);
  expect([end, done < 9000]).toEqual(['cancelled', true]);
});

it('neither what is warmed nor the query for keys takes the last connection that requests load through', async () => {
  showLogsOnFailure(used.stack);
  const { url, admin } = await used.stack.addSidecar({ TIDEMARK_LOAD_POOL: '2' });
  const app = new App(url);
  const other = await used.stack.addSidecar({ TIDEMARK_LOAD_POOL: '1' });
  for (const each of [app, new App(other.url)])
    await eventually(async () => expect((await each.get('locked', '2', onlyIfCached)).cacheStatus).toMatch(/fwd=miss/));
  const holder = new pg.Client({ connectionString: used.stack.postgres });
  await holder.connect();
  try {
    await holder.query('select pg_advisory_lock(1), pg_advisory_lock(2)');
    // Odd ones wait for the lock, even ones do not.
    const odd = Array.from({ length: 100 }, (_, i) => String(15_001 + 2 * i));
    const id = await warm(url, { namespace: 'locked', keys: odd });
    await eventually(async () => expect(await metric(admin, 'tidemark_load_connections_busy')).toBe(1));
    for (let i = 0; i < 20; i += 1) {
      expect((await app.get('locked', String(16_000 + 2 * i))).body).toBe(`user ${16_000 + 2 * i}`);
      expect(await metric(admin, 'tidemark_load_waiting')).toBe(0);
    }
    expect((await fetch(`${url}/v1/warm/${id}`, { method: 'DELETE' })).status).toBe(204);

    const query = await warm(other.url, { namespace: 'locked', sql: true });
    const waits = `select 1 from pg_locks where locktype = 'advisory' and objid = 2 and not granted
      and database = (select oid from pg_database where datname = current_database())`;
    await eventually(async () => expect(await used.stack.sql(waits)).toHaveLength(1));
    expect((await new App(other.url).get('locked', '17000')).body).toBe('user 17000');
    expect((await warmings(other.url)).find((each) => each.id === query)).toMatchObject({
      state: 'running',
      total: null,
    });
    await holder.query('select pg_advisory_unlock_all()');
    expect(await ended(other.url, query)).toMatchObject({ end: 'done', total: 10, results: { loaded: 10 } });
  } finally {
    await holder.end();
  }
});

it('requests that hit and that load are hardly slower meanwhile', async () => {
  const { url } = used.stack.sidecars[1]!;
  const app = new App(url);
  await app.get('users', '501');
  let next = 12_000;
  interface Times {
    readonly hits: number[];
    readonly loads: number[];
  }
  /** Adds the milliseconds of hits and of loads, one after the other. */
  const measure = async ({ hits, loads }: Times): Promise<void> => {
    for (let i = 0; i < 30; i += 1) {
      for (const [key, times] of [
        ['501', hits],
        [String((next += 1)), loads],
      ] as const) {
        const startedMs = performance.now();
        expect((await app.get('users', key)).status).toBe(200);
        times.push(performance.now() - startedMs);
      }
    }
  };
  await measure({ hits: [], loads: [] });
  const alone: Times = { hits: [], loads: [] };
  const beside: Times = { hits: [], loads: [] };
  let warmed = 0;
  // In turns, so that what else the machine does is in both.
  for (let round = 0; round < 10; round += 1) {
    await measure(alone);
    const keys = Array.from({ length: 900 }, (_, i) => String(2001 + 900 * round + i));
    const id = await warm(url, { namespace: 'users', keys });
    await measure(beside);
    await fetch(`${url}/v1/warm/${id}`, { method: 'DELETE' });
    warmed += (await ended(url, id)).done;
  }
  const at = (times: readonly number[], part: number): number =>
    times.toSorted((a, b) => a - b)[Math.floor(times.length * part)] ?? 0;
  const shown = (times: readonly number[]): string => `${at(times, 0.5).toFixed(2)} / ${at(times, 0.99).toFixed(2)}`;
  process.stdout.write(
    `p50 / p99 ms alone and beside ${warmed} warmed keys: hits ${shown(alone.hits)}, ${shown(beside.hits)}; loads ${shown(alone.loads)}, ${shown(beside.loads)}\n`,
  );
  expect(warmed).toBeGreaterThan(0);
  // What is looked for are requests that wait in line behind the warming.
  expect(at(beside.loads, 0.5)).toBeLessThan(at(alone.loads, 0.5) * 3 + 5);
  expect(at(beside.hits, 0.5)).toBeLessThan(at(alone.hits, 0.5) * 3 + 5);
});

it('a warming ends cleanly where Postgres cannot be reached, and where Redis cannot', async () => {
  showLogsOnFailure(used.stack);
  const nobody = `127.0.0.1:${await freePort()}`;
  const withoutPostgres = await used.stack.addSidecar({ TIDEMARK_LOAD_URL: `postgres://x:x@${nobody}/x` });
  const keys = Array.from({ length: 500 }, (_, i) => String(15_000 + i));
  const failing = await ended(withoutPostgres.url, await warm(withoutPostgres.url, { namespace: 'users', keys }));
  expect(failing).toMatchObject({ end: 'failing', detail: expect.stringMatching(/\S/) });
  // Those that were under way when the last straw came end as they do.
  expect(failing.results['failed']).toBeGreaterThanOrEqual(20);
  expect(failing.results['failed']).toBeLessThan(24);
  const sql = await ended(withoutPostgres.url, await warm(withoutPostgres.url, { namespace: 'users', sql: true }));
  expect(sql).toMatchObject({ end: 'unavailable', detail: expect.stringContaining('warm.sql: ') });
  const withoutRedis = await used.stack.addSidecar({ TIDEMARK_REDIS_URL: `redis://${nobody}` });
  const hot = await ended(withoutRedis.url, await warm(withoutRedis.url, { namespace: 'users', hot: 10 }));
  expect(hot).toMatchObject({ end: 'unavailable', detail: expect.stringContaining('Redis did not answer') });
  const named = await ended(withoutRedis.url, await warm(withoutRedis.url, { namespace: 'users', keys: ['1', '2'] }));
  expect(named).toMatchObject({ end: 'done', results: { loaded: 2 } });
});
