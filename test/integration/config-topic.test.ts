import type { ConfigRecord } from '@tidemark/proto';
import {
  ConfigFollower,
  createKafka,
  createLogger,
  ensureConfigTopic,
  openTopicLookup,
  publishConfig,
} from '@tidemark/runtime';
import { Kafka, logLevel, type Admin, type ITopicConfig, type Producer } from 'kafkajs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startKafka, type KafkaServer } from '../kit/index.ts';
import { eventually } from './support/eventually.ts';

const logger = createLogger({ service: 'test', instance: 'config', level: 'silent' });
let server: KafkaServer;
let kafka: Kafka;
let admin: Admin;
let producer: Producer;
const followers: ConfigFollower[] = [];
let topics = 0;

beforeAll(async () => {
  // Compaction as eager as it can be.
  server = await startKafka({ settings: { 'log.cleaner.backoff.ms': '50', 'log.retention.check.interval.ms': '100' } });
  kafka = createKafka({ brokers: server.brokers, tls: false, clientId: 'config', logger });
  const other = new Kafka({ brokers: [...server.brokers], logLevel: logLevel.NOTHING, retry: { retries: 20 } });
  admin = other.admin();
  producer = other.producer();
  await Promise.all([admin.connect(), producer.connect()]);
});
afterEach(() => Promise.all(followers.splice(0).map((follower) => follower.stop())));
afterAll(async () => {
  await Promise.all([admin?.disconnect(), producer?.disconnect()]);
  await server?.stop();
});

const newName = (): string => `config-${(topics += 1)}`;

async function makeTopic(wanted: ITopicConfig): Promise<void> {
  await admin.createTopics({ waitForLeaders: false, topics: [{ numPartitions: 1, ...wanted }] });
  await heardOf(wanted.topic);
}

/** A broker has not heard of a topic yet when the controller says that it made it. */
const heardOf = (topic: string) => eventually(() => admin.fetchTopicOffsets(topic), { withinMs: 30_000 });

async function newTopic(): Promise<string> {
  const topic = newName();
  await ensureConfigTopic(kafka, topic);
  await heardOf(topic);
  return topic;
}

const documentOf = (note: string) => ({ sources: { main: { topic: note } } });
const publish = (topic: string, term: number, revision: number) =>
  publishConfig(kafka, { topic, term, revision, document: documentOf(`t${term}.${revision}`) });

function follow(topic: string) {
  const told = { documents: [] as string[], caughtUp: [] as (string | undefined)[], ignored: [] as string[] };
  const name = (record: ConfigRecord) => record.config.sources['main']?.topic ?? '';
  const follower = new ConfigFollower({
    kafka,
    topic,
    logger,
    onDocument: (record) => void told.documents.push(name(record)),
    onCaughtUp: (held) => void told.caughtUp.push(held && name(held)),
    onIgnored: (why) => void told.ignored.push(why),
  });
  followers.push(follower);
  return told;
}

describe('the topic', () => {
  it('is made once, and kept as it is', async () => {
    const topic = newName();
    expect(await ensureConfigTopic(kafka, topic)).toBe('made');
    expect(await ensureConfigTopic(kafka, topic)).toBe('present');
  });

  it('is made by one of those who make it at once, and the others check it', async () => {
    for (let i = 0; i < 10; i += 1) {
      const topic = newName();
      const answers = await Promise.all([1, 2, 3].map(() => ensureConfigTopic(kafka, topic)));
      expect(answers.toSorted()).toEqual(['made', 'present', 'present']);
    }
  });

  it('is refused when it has several partitions or forgets, with what mends it', async () => {
    const topic = newName();
    await makeTopic({ topic, numPartitions: 2 });
    await expect(ensureConfigTopic(kafka, topic)).rejects.toThrow('has 2 partitions, expected 1');
    const forgetful = newName();
    await makeTopic({ topic: forgetful, configEntries: [{ name: 'retention.ms', value: '60000' }] });
    await expect(ensureConfigTopic(kafka, forgetful)).rejects.toThrow(
      `has retention.ms = 60000, expected -1 (a sidecar that starts later would find no document): kafka-configs.sh --alter --entity-type topics --entity-name ${forgetful} --add-config retention.ms=-1`,
    );
    const compacted = newName();
    await makeTopic({ topic: compacted, configEntries: [{ name: 'cleanup.policy', value: 'compact' }] });
    expect(await ensureConfigTopic(kafka, compacted)).toBe('present');
  });

  // The controller answers before the broker has heard of the topic, so that it seems to be missing at first.
  it('is refused also when somebody made it a moment ago', async () => {
    for (let i = 0; i < 15; i += 1) {
      const topic = newName();
      await admin.createTopics({ waitForLeaders: false, topics: [{ topic, numPartitions: 2 }] });
      await expect(ensureConfigTopic(kafka, topic)).rejects.toThrow('has 2 partitions, expected 1');
      const forgetful = newName();
      const configEntries = [{ name: 'retention.ms', value: '60000' }];
      await admin.createTopics({
        waitForLeaders: false,
        topics: [{ topic: forgetful, numPartitions: 1, configEntries }],
      });
      await expect(ensureConfigTopic(kafka, forgetful)).rejects.toThrow('has retention.ms = 60000, expected -1');
    }
  });

  it('takes no document that does not fit', async () => {
    const topic = await newTopic();
    const keys = Array.from({ length: 60_000 }, () => ({
      table: `public.t${String(Math.random()).slice(2)}`,
      keys: [String(Math.random())],
    }));
    const namespaces = Object.fromEntries(
      Array.from({ length: 250 }, (_, i) => [
        `n${i}`,
        { source: 'main', invalidate: keys.slice(i * 240, (i + 1) * 240) },
      ]),
    );
    const document = { sources: { main: { topic: 't' } }, namespaces };
    await expect(publishConfig(kafka, { topic, term: 0, revision: 0, document })).rejects.toThrow(
      /takes \d+ bytes after compression, at most 1000000 fit a record/,
    );
  });
});

describe('[I16] a follower', () => {
  it('tells the newest document, and then each newer one', async () => {
    const topic = await newTopic();
    for (const revision of [1, 2, 3]) await publish(topic, 0, revision);
    const told = follow(topic);
    await eventually(() => expect(told.documents).toEqual(['t0.3']));
    await publish(topic, 0, 4);
    await publish(topic, 1, 0);
    await eventually(() => expect(told.documents.at(-1)).toBe('t1.0'));
    expect(told.caughtUp.at(-1)).toBe('t1.0');
    expect(told.ignored).toEqual([]);
  });

  it('waits for a topic and for its first record', async () => {
    const topic = `config-${topics + 1}`;
    const told = follow(topic);
    await newTopic();
    await eventually(() => expect(told.caughtUp).toEqual([undefined]));
    await publish(topic, 0, 0);
    await eventually(() => expect(told.documents).toEqual(['t0.0']));
  });

  it('ignores what a replaced publisher says, wherever it stands', async () => {
    const topic = await newTopic();
    await publish(topic, 2, 1);
    await publish(topic, 1, 7);
    const told = follow(topic);
    await eventually(() => expect(told.documents).toEqual(['t2.1']));
    await publish(topic, 1, 8);
    await publish(topic, 2, 2);
    await eventually(() => expect(told.documents).toEqual(['t2.1', 't2.2']));
    expect(told.ignored).toEqual(['older', 'older']);
  });

  it('ignores what it does not understand, and finds what stands before it', async () => {
    const topic = await newTopic();
    await publish(topic, 0, 1);
    const send = (value: string | null) => producer.send({ topic, messages: [{ key: 'document', value }] });
    await send('{"version":2}');
    await send(null);
    const told = follow(topic);
    await eventually(() => expect(told.documents).toEqual(['t0.1']));
    await send('no record');
    await publish(topic, 0, 2);
    await eventually(() => expect(told.documents).toEqual(['t0.1', 't0.2']));
    expect(told.ignored).toEqual(['unreadable', 'unreadable', 'unreadable']);
  });

  it('begins anew with a topic that was made anew', async () => {
    const topic = await newTopic();
    for (const revision of [1, 2, 3]) await publish(topic, 5, revision);
    const told = follow(topic);
    await eventually(() => expect(told.documents).toEqual(['t5.3']));
    await admin.deleteTopics({ topics: [topic] });
    await eventually(async () => expect(await admin.listTopics()).not.toContain(topic), { withinMs: 30_000 });
    await ensureConfigTopic(kafka, topic);
    await eventually(() => publish(topic, 0, 0), { withinMs: 30_000 });
    // Tried again, a document may stand there twice.
    await eventually(() => expect([...new Set(told.documents)]).toEqual(['t5.3', 't0.0']), { withinMs: 30_000 });
  });

  it('goes on after Kafka was away', { timeout: 180_000 }, async () => {
    const topic = await newTopic();
    await publish(topic, 0, 1);
    const told = follow(topic);
    await eventually(() => expect(told.documents).toEqual(['t0.1']));
    await server.kill();
    await server.start();
    await eventually(() => publish(topic, 0, 2), { withinMs: 90_000, everyMs: 200 });
    await eventually(() => expect([...new Set(told.documents)]).toEqual(['t0.1', 't0.2']), { withinMs: 40_000 });
  });

  it('reads a topic that is compacted all the time, from its end and from within', { timeout: 180_000 }, async () => {
    const topic = newName();
    const settings = {
      'cleanup.policy': 'compact',
      'min.cleanable.dirty.ratio': '0.001',
      'segment.ms': '50',
      'max.compaction.lag.ms': '1',
      'delete.retention.ms': '1',
    };
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
    await makeTopic({ topic, configEntries });
    const watching = follow(topic);
    let revision = 0;
    const lookup = openTopicLookup(kafka, topic);
    const oldest = async () => (await lookup.recordAt(0, Number.MAX_SAFE_INTEGER))?.offset;
    await eventually(
      async () => {
        await publish(topic, 0, (revision += 1));
        expect(await oldest()).toBeGreaterThan(20);
      },
      { withinMs: 60_000, everyMs: 30 },
    ).finally(() => lookup.close());
    // Whoever starts now looks for records that are not there any more.
    const starting = follow(topic);
    await eventually(() => expect(starting.documents.at(-1)).toBe(`t0.${revision}`));
    await publish(topic, 0, (revision += 1));
    for (const told of [watching, starting])
      await eventually(() => expect(told.documents.at(-1)).toBe(`t0.${revision}`));
  });
});
