import { encodePendingWrite } from '@tidemark/proto';
import { Kafka, logLevel } from 'kafkajs';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { openFlushDatabase } from '../../invalidator/src/adapters/postgres-flush.ts';
import { runPipelined } from '../../invalidator/src/adapters/postgres-pipeline.ts';
import type { OperatorError } from '../../invalidator/src/core/errors.ts';
import { freePort } from '../kit/index.ts';
import { tidemarkProcess } from '../kit/tidemark.ts';
import { withPostgres } from '../kit/names.ts';
import { eventually } from './support/eventually.ts';
import { showLogsOnFailure, useStack } from './support/stack.ts';
import { metric, write } from './support/write.ts';

// What the flusher does when another one works, when rows are locked, when Postgres is away or went back, and with writes of strangers.

const used = useStack({
  initSql: 'create table items (id text primary key, name text not null, written_at timestamptz)',
  config: {
    namespaces: {
      // One that would end the batch.
      ending: {
        source: 'main',
        invalidate: [{ table: 'public.items', keys: ['{id}'] }],
        writeBehind: { put: { sql: "insert into items (id, name) values ('ended', ''); commit", params: [] } },
      },
      tagged: {
        source: 'main',
        invalidate: [{ table: 'public.items', keys: ['{id}'] }],
        writeBehind: {
          put: {
            sql: "insert into items (id, name) values ($1, array_to_string($2::text[], ' ') || octet_length($3::bytea)) returning *",
            params: ['{key}', '{tags}', '{bytes}'],
          },
        },
      },
      items: {
        source: 'main',
        invalidate: [{ table: 'public.items', keys: ['{id}'] }],
        writeBehind: {
          put: {
            sql: `insert into items (id, name, written_at)
                  select $1, $2, $3 from pg_sleep(case when $1 = 'slow' then 0.6 else 0 end)
                  on conflict (id) do update set name = excluded.name, written_at = excluded.written_at`,
            params: ['{key}', '{body}', '{at}'],
          },
        },
      },
    },
  },
  env: { sidecar: { TIDEMARK_MAX_STALENESS: '1m' } },
});

const TAGS = { 'surrogate-key': 'a"b c\\,d' };

beforeEach(() => showLogsOnFailure(used.stack));

const put = (key: string, body: string) => write(used.stack.sidecars[0]?.url ?? '', ['items', key], body);
const nameOf = async (key: string) =>
  (await used.stack.sql<{ name: string }>('select name from items where id = $1', [key]))[0]?.name;
const flushed = (key: string, name: string) => eventually(async () => expect(await nameOf(key)).toBe(name));
const readiness = async (url: string) => (await (await fetch(`${url}/readyz`)).text()).trim();
/** Cuts every connection of flushers with the database. */
const endFlushers = (through: string = used.stack.postgres) =>
  withPostgres(through, (client) =>
    client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'tidemark flusher%' and datname = $1",
      [new URL(used.stack.postgres).pathname.slice(1)],
    ),
  );
const parked = () => used.stack.sql('select namespace, key, error from tidemark.parked_writes order by id');

/** One more flusher. */
async function anotherFlusher(postgresUrl = used.stack.postgres) {
  const { stack } = used;
  const listen = `127.0.0.1:${await freePort()}`;
  const second = await tidemarkProcess({
    role: 'flusher',
    name: 'second',
    supervise: false,
    env: {
      TIDEMARK_CONFIG: stack.configFile,
      TIDEMARK_KAFKA_BROKERS: stack.brokers.join(','),
      TIDEMARK_POSTGRES_URL: postgresUrl,
      TIDEMARK_WRITES_TOPIC: stack.writesTopic,
      TIDEMARK_HTTP_LISTEN: listen,
    },
  });
  onTestFinished(() => second.stop());
  await second.start();
  return { second, url: `http://${listen}` };
}

/** One more flusher, which stands by. */
async function secondFlusher() {
  const { second, url } = await anotherFlusher();
  await are({ [used.stack.flusher.url]: 'flushing', [url]: 'standby' });
  return { second, url };
}

const are = (states: Readonly<Record<string, string>>) =>
  eventually(async () => {
    for (const [url, state] of Object.entries(states)) expect(await readiness(url)).toBe(state);
  });

it('[I19] waits while another one works, and goes on where that was when it is killed', async () => {
  const { stack } = used;
  const { second, url } = await secondFlusher();
  await put('one', 'v1');
  await flushed('one', 'v1');
  stack.flusher.hold();
  const killing = stack.flusher.kill();
  await put('one', 'v2');
  await killing;
  const killedAtMs = performance.now();
  await flushed('one', 'v2');
  process.stdout.write(`takeover: ${Math.round(performance.now() - killedAtMs)} ms\n`);
  await stack.flusher.release();
  await are({ [stack.flusher.url]: 'standby', [url]: 'flushing' });
  await second.stop();
  await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('flushing'));
});

it('[I19] waits for a row that somebody has locked, and parks nothing', async () => {
  await put('locked', 'v1');
  await flushed('locked', 'v1');
  await withPostgres(used.stack.postgres, async (client) => {
    await client.query("begin; select from items where id = 'locked' for update");
    await put('locked', 'v2');
    const before = await metric(used.stack.flusher.url, 'tidemark_flusher_retries_total');
    // lock_timeout of the flusher: 5 s.
    await eventually(async () =>
      expect(await metric(used.stack.flusher.url, 'tidemark_flusher_retries_total')).toBeGreaterThan(before),
    );
    expect(await used.apps[0]?.get('items', 'locked')).toMatchObject({ body: 'v2' });
    expect(await metric(used.stack.flusher.url, 'tidemark_flusher_oldest_seconds')).toBeGreaterThan(1);
    await client.query('rollback');
  });
  await eventually(async () => expect(await nameOf('locked')).toBe('v2'));
  expect(await parked()).toEqual([]);
});

it('says nothing any more of what waits once another one has its turn', async () => {
  const { stack } = used;
  const { second, url } = await secondFlusher();
  await put('moved', 'v1');
  await flushed('moved', 'v1');
  await withPostgres(stack.postgres, async (client) => {
    await client.query("begin; select from items where id = 'moved' for update");
    await put('moved', 'v2');
    await eventually(async () =>
      expect(await metric(stack.flusher.url, 'tidemark_flusher_oldest_seconds')).toBeGreaterThan(0),
    );
    // The first one loses its connection, and the second one is faster.
    stack.flusher.pause();
    await endFlushers();
    await eventually(async () => expect(await metric(url, 'tidemark_flusher_oldest_seconds')).toBeGreaterThan(0));
    stack.flusher.resume();
    await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('standby'));
    await client.query('rollback');
  });
  await eventually(async () => expect(await nameOf('moved')).toBe('v2'));
  await eventually(async () => {
    expect(await metric(stack.flusher.url, 'tidemark_flusher_oldest_seconds')).toBe(0);
    expect(await metric(stack.flusher.url, 'tidemark_flusher_depth')).toBe(0);
  });
  await second.stop();
  await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('flushing'));
});

it('says that Postgres is away also while nothing is written, once', async () => {
  const { stack } = used;
  const url = new URL(stack.postgres);
  const database = url.pathname.slice(1);
  url.pathname = '/postgres';
  const lets = (allowed: boolean) =>
    withPostgres(url.href, (client) => client.query(`alter database "${database}" allow_connections ${allowed}`));
  const retries = () => metric(stack.flusher.url, 'tidemark_flusher_retries_total');
  await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('flushing'));
  const told = () => stack.logs('flusher').filter((line) => line.includes('is not currently accepting connections'));
  await lets(false);
  try {
    const before = await retries();
    await endFlushers(url.href);
    await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('postgres-away'));
    await eventually(async () => expect(await retries()).toBeGreaterThan(before + 3));
    expect(told()).toHaveLength(1);
  } finally {
    await lets(true);
  }
  await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('flushing'));
  await put('again', 'v1');
  await flushed('again', 'v1');
});

it('says which rights its role lacks, and needs no others', async () => {
  const { stack } = used;
  await stack.sql("create role tidemark_flush_test login password 'x'");
  onTestFinished(() =>
    stack.sql('drop owned by tidemark_flush_test; drop role tidemark_flush_test').then(() => undefined),
  );
  const url = new URL(stack.postgres);
  [url.username, url.password] = ['tidemark_flush_test', 'x'];
  const open = () =>
    openFlushDatabase({ connection: { connectionString: url.href }, topic: 'other', runAll: runPipelined });
  const error = await open().catch((refused: unknown) => refused as OperatorError);
  expect(error).toMatchObject({ message: expect.stringContaining('role tidemark_flush_test may not write') });
  for (const statement of (error as OperatorError).sql) await stack.sql(statement);
  const database = await open();
  expect(await database.progress()).toBe(0);
  expect(await database.notePlace(1000)).toBe(0);
  await database.close();
  for (const table of ['progress', 'places'])
    await stack.sql(`delete from tidemark.flush_${table} where topic = 'other'`);
});

it('[I19] parks what is no write, or of a namespace that there is not', async () => {
  const stranger = { kind: 'put', contentType: '', tags: [], atMs: 0, body: new Uint8Array(0) } as const;
  const kafka = new Kafka({ brokers: [...used.stack.brokers], logLevel: logLevel.NOTHING });
  const producer = kafka.producer();
  await producer.connect();
  const values = [
    'what is this',
    encodePendingWrite({ ...stranger, namespace: 'gone', key: 'a\0b' }),
    // Later than any date of JavaScript, and than what Postgres reads of one.
    encodePendingWrite({ ...stranger, namespace: 'items', key: 'late', atMs: Number.MAX_SAFE_INTEGER }),
    encodePendingWrite({ ...stranger, namespace: 'items', key: 'later', atMs: 253_402_300_800_000 }),
  ];
  await producer.send({
    topic: used.stack.writesTopic,
    messages: values.map((value) => ({ value: Buffer.from(value) })),
  });
  await producer.disconnect();
  await put('after', 'v1');
  await flushed('after', 'v1');
  expect(await parked()).toMatchObject([
    { namespace: null, key: null, error: expect.stringContaining('it is no write') },
    { namespace: 'gone', key: 'a\\0b', error: 'source main has no namespace gone' },
    { namespace: null, key: null, error: expect.stringContaining('it is no write') },
    { namespace: null, key: null, error: expect.stringContaining('it is no write') },
  ]);
  await used.stack.sql('delete from tidemark.parked_writes');
});

it('[I19] takes as long for a transaction as it needs, whatever the database allows others', async () => {
  const { stack } = used;
  // As the database or the role would say it, but to nobody else.
  const hasty = new URL(stack.postgres);
  hasty.searchParams.set('options', '-c transaction_timeout=300ms');
  const { second, url } = await anotherFlusher(hasty.href);
  stack.flusher.hold();
  onTestFinished(() => stack.flusher.release());
  await stack.flusher.kill();
  await are({ [url]: 'flushing' });
  await put('slow', 'v1');
  await flushed('slow', 'v1');
  expect(await parked()).toEqual([]);
  await second.stop();
});

it('[I19] runs one statement a write, whatever the statement tries', async () => {
  const { stack } = used;
  const [{ url } = { url: '' }] = stack.sidecars;
  stack.flusher.pause();
  for (const namespace of ['items', 'ending', 'tagged'])
    expect((await write(url, [namespace, `of ${namespace}`], Uint8Array.of(65, 10, 66), TAGS)).status).toBe(202);
  expect((await put('last', 'v1')).status).toBe(202);
  stack.flusher.resume();
  await eventually(async () => expect(await nameOf('last')).toBe('v1'));
  expect(await nameOf('of items')).toBe('A\nB');
  expect(await nameOf('of tagged')).toBe('a"b c\\,d3');
  expect(await nameOf('ended')).toBeUndefined();
  expect(await stack.sql('select namespace, key, code from tidemark.parked_writes')).toEqual([
    { namespace: 'ending', key: 'of ending', code: '42601' },
  ]);
  await stack.sql('delete from tidemark.parked_writes');
});

it('[I19] flushes again what a database that went back does not have any more', async () => {
  const { stack } = used;
  const offset = async () =>
    Number(
      (await stack.sql<{ next: string }>('select next_offset::text as next from tidemark.flush_progress'))[0]?.next,
    );
  const before = await offset();
  for (const key of ['back-1', 'back-2']) await put(key, 'v1');
  await flushed('back-2', 'v1');
  expect(await offset()).toBe(before + 2);
  // As a failover leaves it that has lost the last commits: the rows, how far it was, and only then every connection.
  await stack.sql(`
    begin;
    delete from items where id like 'back-%';
    update tidemark.flush_progress set next_offset = ${before};
    commit`);
  await endFlushers();
  for (const key of ['back-1', 'back-2']) await flushed(key, 'v1');
  expect(await offset()).toBe(before + 2);
});
