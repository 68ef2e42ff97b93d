import { encodePendingWrite } from '@tidemark/proto';
import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { ensureWritesTopic, forgetWrites } from '../../invalidator/src/adapters/writes-topic.ts';
import { freePort } from '../kit/index.ts';
import { tidemarkProcess } from '../kit/tidemark.ts';
import { withPostgres } from '../kit/names.ts';
import { eventually } from './support/eventually.ts';
import { showLogsOnFailure, useStack } from './support/stack.ts';
import { metric, write } from './support/write.ts';

// What the flusher does when another one works, when rows are locked, when Kafka has lost writes, and with writes of strangers.

const used = useStack({
  initSql: 'create table items (id text primary key, name text not null, written_at timestamptz)',
  config: {
    namespaces: {
      items: {
        source: 'main',
        invalidate: [{ table: 'public.items', keys: ['{id}'] }],
        writeBehind: {
          put: {
            sql: `insert into items (id, name, written_at) values ($1, $2, $3)
                  on conflict (id) do update set name = excluded.name, written_at = excluded.written_at`,
            params: ['{key}', '{body}', '{at}'],
          },
        },
      },
    },
  },
  env: { flusher: { TIDEMARK_WRITES_KEEP: '5s' } },
});

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

async function withKafka<T>(work: (kafka: Kafka) => Promise<T>): Promise<T> {
  return work(new Kafka({ brokers: [...used.stack.brokers], logLevel: logLevel.NOTHING }));
}

/** Oldest offset of the topic of writes, and the one that the next write gets. */
const bounds = () =>
  withKafka(async (kafka) => {
    const admin = kafka.admin();
    await admin.connect();
    const found = (await admin.fetchTopicOffsets(used.stack.writesTopic)).find(({ partition }) => partition === 0);
    await admin.disconnect();
    return { low: Number(found?.low), high: Number(found?.high) };
  });

/** One more flusher, which stands by. */
async function secondFlusher() {
  const { stack } = used;
  const listen = `127.0.0.1:${await freePort()}`;
  const second = await tidemarkProcess({
    role: 'flusher',
    name: 'second',
    supervise: false,
    env: {
      TIDEMARK_CONFIG: stack.configFile,
      TIDEMARK_KAFKA_BROKERS: stack.brokers.join(','),
      TIDEMARK_POSTGRES_URL: stack.postgres,
      TIDEMARK_WRITES_TOPIC: stack.writesTopic,
      TIDEMARK_HTTP_LISTEN: listen,
    },
  });
  onTestFinished(() => second.stop());
  await second.start();
  const url = `http://${listen}`;
  expect([await readiness(stack.flusher.url), await readiness(url)]).toEqual(['flushing', 'standby']);
  return { second, url };
}

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
  expect([await readiness(stack.flusher.url), await readiness(url)]).toEqual(['standby', 'flushing']);
  await second.stop();
  await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('flushing'));
});

it('[I19] waits for a row that somebody has locked, and parks nothing', { timeout: 60_000 }, async () => {
  await put('locked', 'v1');
  await flushed('locked', 'v1');
  await withPostgres(used.stack.postgres, async (client) => {
    await client.query("begin; select from items where id = 'locked' for update");
    await put('locked', 'v2');
    const before = await metric(used.stack.flusher.url, 'tidemark_flusher_retries_total');
    // lock_timeout of the flusher: 5 s.
    await eventually(
      async () =>
        expect(await metric(used.stack.flusher.url, 'tidemark_flusher_retries_total')).toBeGreaterThan(before),
      { withinMs: 20_000 },
    );
    expect(await used.apps[0]?.get('items', 'locked')).toMatchObject({ body: 'v2' });
    expect(await metric(used.stack.flusher.url, 'tidemark_flusher_oldest_seconds')).toBeGreaterThan(1);
    await client.query('rollback');
  });
  await eventually(async () => expect(await nameOf('locked')).toBe('v2'), { withinMs: 20_000 });
  expect(await parked()).toEqual([]);
});

it('says nothing any more of what waits once another one has its turn', { timeout: 60_000 }, async () => {
  const { stack } = used;
  const { second, url } = await secondFlusher();
  await put('moved', 'v1');
  await flushed('moved', 'v1');
  await withPostgres(stack.postgres, async (client) => {
    await client.query("begin; select from items where id = 'moved' for update");
    await put('moved', 'v2');
    await eventually(
      async () => expect(await metric(stack.flusher.url, 'tidemark_flusher_oldest_seconds')).toBeGreaterThan(0),
      { withinMs: 20_000 },
    );
    // The first one loses its connection, and the second one is faster.
    stack.flusher.pause();
    await endFlushers();
    await eventually(async () => expect(await readiness(url)).toBe('flushing'), { withinMs: 20_000 });
    stack.flusher.resume();
    await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('standby'), { withinMs: 20_000 });
    await client.query('rollback');
  });
  await eventually(async () => expect(await nameOf('moved')).toBe('v2'), { withinMs: 20_000 });
  await eventually(
    async () => {
      expect(await metric(stack.flusher.url, 'tidemark_flusher_oldest_seconds')).toBe(0);
      expect(await metric(stack.flusher.url, 'tidemark_flusher_depth')).toBe(0);
    },
    { withinMs: 10_000 },
  );
  await second.stop();
  await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('flushing'));
});

it('says that Postgres is away also while nothing is written, once', { timeout: 60_000 }, async () => {
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
    await eventually(async () => expect(await retries()).toBeGreaterThan(before + 3), { withinMs: 20_000 });
    expect(told()).toHaveLength(1);
  } finally {
    await lets(true);
  }
  await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('flushing'), { withinMs: 20_000 });
  await put('again', 'v1');
  await flushed('again', 'v1');
});

it('[I19] parks what is no write, or of a namespace that there is not', async () => {
  const stranger = { kind: 'put', contentType: '', tags: [], atMs: 0, body: new Uint8Array(0) } as const;
  await withKafka(async (kafka) => {
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
  });
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

it('[I19] flushes again what a database that went back does not have any more', { timeout: 60_000 }, async () => {
  const { stack } = used;
  const offset = async () =>
    Number(
      (await stack.sql<{ next: string }>('select next_offset::text as next from tidemark.flush_progress'))[0]?.next,
    );
  const before = await offset();
  for (const key of ['back-1', 'back-2']) await put(key, 'v1');
  await flushed('back-2', 'v1');
  expect(await offset()).toBe(before + 2);
  // As a failover leaves it that has lost the last commits: the rows, how far it was, and every connection.
  await stack.sql(`
    begin;
    delete from items where id like 'back-%';
    update tidemark.flush_progress set next_offset = ${before};
    select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'tidemark flusher%' and datname = current_database();
    commit`);
  for (const key of ['back-1', 'back-2']) await flushed(key, 'v1');
  expect(await offset()).toBe(before + 2);
});

it('[I19] lets Kafka forget what has been in Postgres for long enough', async () => {
  await put('kept', 'v1');
  await flushed('kept', 'v1');
  const { high } = await bounds();
  await eventually(async () => expect((await bounds()).low).toBe(high), { withinMs: 15_000, everyMs: 100 });
});

it('takes no topic in which writes would be lost, refused or unreadable, and says how to mend it', async () => {
  const { stack } = used;
  await withKafka(async (kafka) => {
    const admin = kafka.admin();
    await admin.connect();
    onTestFinished(() => admin.disconnect());
    const [made] = (
      await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: ConfigResourceTypes.TOPIC, name: stack.writesTopic }],
      })
    ).resources;
    const settings = Object.fromEntries(made?.configEntries.map((each) => [each.configName, each.configValue]) ?? []);
    expect(settings).toMatchObject({ 'retention.ms': '-1', 'message.timestamp.type': 'LogAppendTime' });
    for (const [name, value] of [
      ['retention.ms', '3600000'],
      ['retention.bytes', '1000000'],
      ['cleanup.policy', 'compact'],
      ['max.message.bytes', '100000'],
      ['compression.type', 'zstd'],
    ] as const) {
      const topic = `${stack.writesTopic}.${name}`;
      await admin.createTopics({
        waitForLeaders: false,
        topics: [
          {
            topic,
            numPartitions: 1,
            replicationFactor: 1,
            configEntries: Object.entries({ 'retention.ms': '-1', [name]: value }).map(([of, is]) => ({
              name: of,
              value: is,
            })),
          },
        ],
      });
      onTestFinished(() => admin.deleteTopics({ topics: [topic] }));
      const settingsOf = new RegExp(`${name.replaceAll('.', '\\.')} = ${value}, expected .*--add-config`);
      await eventually(() => expect(ensureWritesTopic(kafka, topic)).rejects.toThrow(settingsOf));
    }
  });
});

it('[I19] goes on with the first partition where somebody has added others', { timeout: 60_000 }, async () => {
  const { stack } = used;
  const { high: before } = await bounds();
  await withKafka(async (kafka) => {
    const admin = kafka.admin();
    await admin.connect();
    await admin.createPartitions({ topicPartitions: [{ topic: stack.writesTopic, count: 3 }] });
    await eventually(async () => expect(await admin.fetchTopicOffsets(stack.writesTopic)).toHaveLength(3));
    await admin.disconnect();
  });
  await stack.flusher.restart();
  await stack.sidecars[0]?.restart();
  await eventually(async () => expect((await put('spread', 'v1')).status).toBe(202), { withinMs: 20_000 });
  for (let n = 0; n < 20; n++) expect((await put('spread', `v${n}`)).status).toBe(202);
  await flushed('spread', 'v19');
  expect((await bounds()).high).toBeGreaterThanOrEqual(before + 21);
});

describe('where Kafka has lost writes', () => {
  it(
    '[I19] flushes nothing until a person has looked, and sidecars do not pretend to know',
    { timeout: 60_000 },
    async () => {
      const { stack } = used;
      stack.flusher.pause();
      expect((await put('lost', 'v1')).status).toBe(202);
      const { high } = await bounds();
      await stack.flusher.kill();
      await withKafka((kafka) => forgetWrites(kafka, stack.writesTopic, high));
      await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('lost'), { withinMs: 20_000 });
      expect(await metric(stack.flusher.url, 'tidemark_flusher_writes_lost')).toBe(1);
      expect(stack.logs('flusher').at(-1)).toContain('set next_offset of topic');
      // A sidecar that begins now cannot know what was in them.
      await stack.sidecars[0]?.restart();
      await eventually(async () =>
        expect((await used.apps[0]?.get('items', 'lost'))?.cacheStatus).toBe('tidemark; fwd=bypass; detail=starting'),
      );
      expect(await put('lost', 'v2')).toMatchObject({ status: 503, problem: 'unavailable' });
      await stack.sql('update tidemark.flush_progress set next_offset = $1', [high]);
      await eventually(async () => expect((await put('lost', 'v3')).status).toBe(202), {
        withinMs: 30_000,
        everyMs: 50,
      });
      await eventually(async () => expect(await nameOf('lost')).toBe('v3'), { withinMs: 30_000 });
    },
  );
});
