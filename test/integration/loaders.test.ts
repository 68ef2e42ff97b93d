import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { App } from './support/app.ts';
import { NOBODY, startBareSidecar } from './support/bare-sidecar.ts';
import { judgeReads } from './support/judged-reads.ts';
import { eventually } from './support/eventually.ts';
import { useStack } from './support/stack.ts';

// Namespaces that the sidecar loads from Postgres itself, as an application sees them.

/** The longest that a load may have. */
const timeout = '10s';

const used = useStack({
  sidecars: 2,
  initSql: `
    create table users (id int primary key, email text, team int, name text);
    alter table users replica identity full;
    insert into users select i, 'u' || i || '@x', i % 10, 'user ' || i from generate_series(1, 100) i;
    create table counters (id int primary key, n int not null);
    insert into counters select i, 0 from generate_series(1, 20) i;
    create table seldom (id int primary key, name text);
    do $$ begin execute format('alter database %I set track_functions = ''all''', current_database()); end $$;
    create function find_seldom(int) returns setof seldom language plpgsql stable as 'begin return query select * from seldom where id = $1; end';
    create function slow(float8) returns float8 language plpgsql volatile as 'begin perform pg_sleep($1); return $1; end';`,
  // A busy machine may take seconds for a load, and hear nothing of the stream for as long.
  env: {
    sidecar: { TIDEMARK_LOAD_POOL: '2', TIDEMARK_COALESCE_TIMEOUT: '30s', TIDEMARK_MAX_STALENESS: '60s' },
  },
  config: {
    namespaces: {
      user: {
        source: 'main',
        invalidate: [{ table: 'public.users', keys: ['{id}', 'email:{email}'], tags: ['user:{id}', 'team:{team}'] }],
        load: {
          byKey: [
            { key: 'email:{email}', sql: 'select id, name from users where email = $1', params: ['{email}'], timeout },
            {
              key: 'team:{team}',
              sql: 'select id, name from users where team = $1 order by id',
              params: ['{team}'],
              rows: 'many',
              tags: ['team:{team}', 'user:{id}'],
              timeout,
            },
            {
              key: 'page:{page}',
              http: { url: 'http://127.0.0.1:1/{page}', retries: 0 },
              breaker: { failures: 2, for: '10m' },
            },
            {
              key: 'id:{id}',
              sql: 'select name from users where id = $1',
              params: ['{id}'],
              tags: ['user:{id}'],
              timeout,
            },
          ],
        },
      },
      counter: {
        source: 'main',
        invalidate: [{ table: 'public.counters', keys: ['{id}'] }],
        load: { sql: 'select id, n from counters where id = $1', timeout },
      },
      seldom: {
        source: 'main',
        invalidate: [{ table: 'public.seldom', keys: ['{id}'] }],
        load: { sql: 'select * from find_seldom($1)', timeout },
      },
      slow: {
        source: 'main',
        invalidate: [{ table: 'public.seldom', keys: ['{id}'] }],
        load: { sql: 'select slow($1), 1', timeout: '3s', breaker: { failures: 1000 } },
      },
    },
  },
});

const app = (i = 0) => used.apps[i] as (typeof used.apps)[number];
const metric = async (name: string): Promise<number> => {
  const text = await (await fetch(`${used.stack.sidecars[0]?.admin}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? Number.NaN);
};

describe('a value', () => {
  it('that is missing is loaded and kept; a change of its row evicts it, and it is loaded anew', async () => {
    const first = await app().get('user', 'id:1');
    expect([first.status, first.body, first.cacheStatus]).toEqual([
      200,
      'user 1',
      expect.stringMatching(/fwd=miss.*stored/),
    ]);
    expect(await app().get('user', 'id:1')).toMatchObject({
      body: 'user 1',
      cacheStatus: expect.stringContaining('hit'),
    });
    await used.stack.sql("update users set name = 'Ada' where id = 1");
    await eventually(async () => expect((await app().get('user', 'id:1')).body).toBe('Ada'));
    expect((await app().get('user', 'id:1')).cacheStatus).toContain('hit');
  });

  it('is found by another shape of key, and many rows are one value with the tags of each', async () => {
    expect(JSON.parse((await app().get('user', 'email:u2@x')).body)).toEqual({ id: 2, name: 'user 2' });
    const team = async (): Promise<string[]> =>
      (JSON.parse((await app().get('user', 'team:3')).body) as { name: string }[]).map(({ name }) => name);
    expect(await team()).toHaveLength(10);
    expect((await app().get('user', 'team:3')).cacheStatus).toContain('hit');
    await used.stack.sql("update users set name = 'Grace' where id = 13");
    await eventually(async () => expect(await team()).toContain('Grace'));
    await used.stack.sql("insert into users values (1003, 'u1003@x', 3, 'new')");
    await eventually(async () => expect(await team()).toContain('new'));
  });

  it('whose key no loader is for is a miss with a lease, as ever', async () => {
    const miss = await app().get('user', 'somebody');
    expect([miss.status, miss.lease]).toEqual([404, expect.any(String)]);
    expect((await app().put('user', 'somebody', 'x', { lease: miss.lease })).status).toBe(201);
    expect((await app().get('user', 'somebody')).body).toBe('x');
  });

  it('that is asked for by many at once is loaded once', async () => {
    const before = await metric('tidemark_loads_total{namespace="user",result="value"}');
    const answers = await Promise.all(Array.from({ length: 50 }, () => app().get('user', 'id:50')));
    expect(new Set(answers.map(({ body }) => body))).toEqual(new Set(['user 50']));
    expect(await metric('tidemark_loads_total{namespace="user",result="value"}')).toBe(before + 1);
    expect(await metric('tidemark_load_connections_max')).toBe(2);
  });
});

it('what does not exist is asked for once, and found when it comes to be', async () => {
  const calls = async (): Promise<number> => {
    const [row] = await used.stack.sql<{ calls: number }>(
      "select calls::int as calls from pg_stat_user_functions where funcname = 'find_seldom'",
    );
    return row?.calls ?? 0;
  };
  const loads = (): Promise<number> => metric('tidemark_loads_total{namespace="seldom",result="absent"}');
  for (let i = 0; i < 300; i += 1) expect((await app().get('seldom', '7')).status).toBe(404);
  expect(await loads()).toBeLessThan(100);
  // Postgres tells statistics a second late (PGSTAT_MIN_INTERVAL), and not at all of a session that is idle: another load makes it.
  await eventually(
    async () => {
      await app().get('seldom', '8', { 'cache-control': 'no-cache' });
      expect(await calls()).toBeGreaterThan(1);
    },
    { everyMs: 100 },
  );
  await used.stack.sql("insert into seldom values (7, 'there')");
  await eventually(async () => expect((await app().get('seldom', '7')).body).toBe('{"id":7,"name":"there"}'));
});

it('no key gets out of its place in the statement', async () => {
  for (const key of ["1' or '1'='1", '1; drop table users', '$1', '1)--', '\u0000', '1 or 1=1'])
    expect((await app().get('counter', key)).status).toBe(404);
  expect((await app().get('counter', '1')).status).toBe(200);
});

it('loads that find no connection in time fail, and disturb nobody afterwards', async () => {
  const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => app().get('slow', `0.${200 + i}`)));
  const statuses = new Map<number, number>();
  for (const { status } of answers) statuses.set(status, (statuses.get(status) ?? 0) + 1);
  expect([...statuses.keys()]).toEqual(expect.arrayContaining([200, 503]));
  expect(await metric('tidemark_loads_total{namespace="slow",result="busy"}')).toBeGreaterThan(100);
  await eventually(async () => expect(await metric('tidemark_load_connections_busy')).toBe(0));
  expect((await app().get('slow', '600')).status).toBe(504);
  await eventually(async () => {
    const [row] = await used.stack.sql(
      `select 1 from pg_stat_activity where query like '%slow(%' and state = 'active' and pid <> pg_backend_pid()
        and datname = current_database()`,
    );
    expect(row).toBeUndefined();
  });
  expect((await app().get('counter', '2')).status).toBe(200);
});

it('a sidecar that has no address of Postgres says so, and loads from endpoints', async () => {
  const without = new App((await used.stack.addSidecar({ TIDEMARK_LOAD_URL: '' })).url);
  await eventually(async () => {
    const { status, body } = await without.get('counter', '1', { 'cache-control': 'no-cache' });
    expect([status, body]).toEqual([503, expect.stringContaining('TIDEMARK_LOAD_URL')]);
  });
  expect((await without.get('user', 'page:1')).body).toContain('the endpoint cannot be asked');
  expect(used.stack.logs('sidecar-2').join('\n')).toContain('TIDEMARK_LOAD_URL is not set');
});

it('a sidecar that has not heard of the stream yet gives what the origin has, and keeps nothing of it', async () => {
  const { configFile, postgres } = used.stack;
  const { child, exited, bound } = await startBareSidecar({
    ...{ ...NOBODY, TIDEMARK_CONFIG: configFile, TIDEMARK_LOAD_URL: postgres },
  });
  onTestFinished(async () => void (child.kill('SIGKILL'), await exited));
  const deaf = new App(`http://${bound.url}`);
  for (let i = 0; i < 2; i += 1)
    expect(await deaf.get('user', 'id:9')).toMatchObject({
      ...{ status: 200, body: 'user 9', cacheStatus: 'tidemark; fwd=bypass; fwd-status=200; detail=starting' },
    });
});

it('an endpoint that fails is left alone for a while', async () => {
  for (const page of ['1', '2', '3', '4']) expect((await app().get('user', `page:${page}`)).status).toBe(503);
  expect(await metric('tidemark_load_breakers_open{namespace="user"}')).toBe(1);
  expect(await metric('tidemark_loads_total{namespace="user",result="open"}')).toBe(2);
  expect((await app().get('user', 'id:5')).status).toBe(200);
});

it('whoever asks past the cache gets what was committed before, however many do, beside others, while the row changes', async () => {
  let committed = 0;
  let isOver = false;
  const write = async (): Promise<void> => {
    while (!isOver) {
      const [row] = await used.stack.sql<{ n: number }>('update counters set n = n + 1 where id = 20 returning n');
      committed = row?.n ?? 0;
      await pause(20);
    }
  };
  const read = async (i: number): Promise<void> => {
    for (let k = 0; k < 30; k += 1) {
      const isReload = i % 4 !== 0;
      const least = isReload ? committed : 0;
      const { status, body } = await app(i % 2).get('counter', '20', isReload ? { 'cache-control': 'no-cache' } : {});
      expect([status, body]).toEqual([200, expect.stringContaining('"n"')]);
      expect((JSON.parse(body) as { n: number }).n).toBeGreaterThanOrEqual(least);
    }
  };
  const writing = write();
  try {
    await Promise.all(Array.from({ length: 24 }, (_, i) => read(i)));
  } finally {
    isOver = true;
    await writing;
  }
  expect(committed).toBeGreaterThan(1);
  for (const { admin } of used.stack.sidecars)
    await eventually(async () =>
      expect(await (await fetch(`${admin}/metrics`)).text()).toMatch(/^tidemark_waiters 0$/m),
    );
}, 300_000);

it('[I5] no read is older than a commit that it names, while rows change all the time', async () => {
  const judged = await judgeReads(used.stack, used.apps, { namespace: 'counter', keys: 20, reads: 2000 });
  expect(judged.reads).toBeGreaterThanOrEqual(2000);
  expect(judged.failed).toBe(0);
  expect(judged.hits).toBeGreaterThan(0);
}, 300_000);
