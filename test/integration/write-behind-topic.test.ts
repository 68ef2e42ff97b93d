import { encodePendingWrite } from '@tidemark/proto';
import { createKafka, createLogger } from '@tidemark/runtime';
import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ensureWritesTopic, forgetWrites } from '../../invalidator/src/adapters/writes-topic.ts';
import { KafkaWriteLog } from '../../sidecar/src/adapters/kafka-writes.ts';
import { eventually } from './support/eventually.ts';
import { showLogsOnFailure, useStack } from './support/stack.ts';
import { metric, write } from './support/write.ts';

// The topic that writes wait in: how it has to be, what Kafka forgets of it, and what happens when it has lost some.

const used = useStack({
  initSql: 'create table items (id text primary key, name text not null)',
  config: {
    namespaces: {
      items: {
        source: 'main',
        invalidate: [{ table: 'public.items', keys: ['{id}'] }],
        writeBehind: {
          put: {
            sql: 'insert into items (id, name) values ($1, $2) on conflict (id) do update set name = excluded.name',
            params: ['{key}', '{body}'],
          },
        },
      },
    },
  },
  env: { flusher: { TIDEMARK_WRITES_KEEP: '5s' }, sidecar: { TIDEMARK_MAX_STALENESS: '1m' } },
});

beforeEach(() => showLogsOnFailure(used.stack));

const put = (key: string, body: string) => write(used.stack.sidecars[0]?.url ?? '', ['items', key], body);
const nameOf = async (key: string) =>
  (await used.stack.sql<{ name: string }>('select name from items where id = $1', [key]))[0]?.name;
const flushed = (key: string, name: string) => eventually(async () => expect(await nameOf(key)).toBe(name));
const readiness = async (url: string) => (await (await fetch(`${url}/readyz`)).text()).trim();

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

it('[I19] lets Kafka forget what has been in Postgres for long enough', async () => {
  await put('kept', 'v1');
  await flushed('kept', 'v1');
  const { high } = await bounds();
  await eventually(async () => expect((await bounds()).low).toBe(high), { withinMs: 60_000, everyMs: 100 });
});

it('[I19] lets Kafka forget also where no flusher lives as long as writes are kept', async () => {
  const { flusher } = used.stack;
  await put('kept', 'v2');
  await flushed('kept', 'v2');
  const { high } = await bounds();
  await flusher.restart();
  let restartedAtMs = performance.now();
  await eventually(
    async () => {
      if (performance.now() - restartedAtMs > 4_000) {
        await flusher.restart();
        restartedAtMs = performance.now();
      }
      expect((await bounds()).low).toBe(high);
    },
    { withinMs: 120_000, everyMs: 100 },
  );
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
      await expect(ensureWritesTopic(kafka, topic)).rejects.toThrow(settingsOf);
    }
  });
});

it('[I19] takes what a sidecar writes whose clock is hours fast', async () => {
  const { stack } = used;
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3 * 3_600_000 });
  onTestFinished(() => void vi.useRealTimers());
  const logger = createLogger({ service: 'test', instance: 'fast', level: 'silent' });
  const kafka = createKafka({ brokers: stack.brokers, tls: false, clientId: 'fast', logger });
  const log = new KafkaWriteLog({ kafka, topic: stack.writesTopic, deadlineMs: 60_000, maxQueuedBytes: 100_000 });
  onTestFinished(() => log.stop());
  const late = { namespace: 'items', key: 'fast', kind: 'put', contentType: '', tags: [], atMs: Date.now() } as const;
  const body = new TextEncoder().encode('v1');
  expect(await log.append(encodePendingWrite({ ...late, body }))).toEqual({ offset: expect.any(Number) });
  vi.useRealTimers();
  await flushed('fast', 'v1');
});

it('[I19] goes on with the first partition where somebody has added others', async () => {
  const { stack } = used;
  const { high: before } = await bounds();
  await withKafka(async (kafka) => {
    const admin = kafka.admin();
    await admin.connect();
    await admin.createPartitions({ topicPartitions: [{ topic: stack.writesTopic, count: 3 }] });
    // Asked anew each time: for offsets kafkajs goes by what it was told first, for minutes.
    await eventually(async () => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [stack.writesTopic] });
      expect(topics[0]?.partitions).toHaveLength(3);
    });
    await admin.disconnect();
  });
  await stack.flusher.restart();
  await stack.sidecars[0]?.restart();
  await eventually(async () => expect((await put('spread', 'v1')).status).toBe(202), { withinMs: 60_000 });
  for (let n = 0; n < 20; n++) expect((await put('spread', `v${n}`)).status).toBe(202);
  await flushed('spread', 'v19');
  expect((await bounds()).high).toBeGreaterThanOrEqual(before + 21);
});

describe('where Kafka has lost writes', () => {
  it(
    '[I19] flushes nothing until a person has looked, and sidecars do not pretend to know',
    { timeout: 240_000 },
    async () => {
      const { stack } = used;
      stack.flusher.pause();
      expect((await put('lost', 'v1')).status).toBe(202);
      const { high } = await bounds();
      // Before it is started again, which might be fast enough to flush it.
      await withKafka((kafka) => forgetWrites(kafka, stack.writesTopic, high));
      await stack.flusher.kill();
      await eventually(async () => expect(await readiness(stack.flusher.url)).toBe('lost'), { withinMs: 60_000 });
      expect(await metric(stack.flusher.url, 'tidemark_flusher_writes_lost')).toBe(1);
      await eventually(() => expect(stack.logs('flusher').join('\n')).toContain('set next_offset of topic'));
      // A sidecar that begins now cannot know what was in them.
      await stack.sidecars[0]?.restart();
      await eventually(async () =>
        expect((await used.apps[0]?.get('items', 'lost'))?.cacheStatus).toBe('tidemark; fwd=bypass; detail=starting'),
      );
      expect(await put('lost', 'v2')).toMatchObject({ status: 503, problem: 'unavailable' });
      await stack.sql('update tidemark.flush_progress set next_offset = $1', [high]);
      await eventually(async () => expect((await put('lost', 'v3')).status).toBe(202), {
        withinMs: 60_000,
        everyMs: 50,
      });
      await eventually(async () => expect(await nameOf('lost')).toBe('v3'), { withinMs: 60_000 });
    },
  );
});
