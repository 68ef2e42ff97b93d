import { setImmediate } from 'node:timers/promises';
import {
  createKafka,
  createLogger,
  readLastRecord,
  RecordReader,
  type ReaderStart,
  type Reset,
} from '@tidemark/runtime';
import { Kafka, logLevel, type Admin, type Producer } from 'kafkajs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startKafka, type KafkaServer } from '../kit/index.ts';
import { eventually } from './support/eventually.ts';
import { KafkaProxy } from './support/tcp-proxy.ts';
import { append as appendTo, deleteRecords, newTopic } from './support/topics.ts';

const CLIENT = 'reader-under-test';
const logger = createLogger({ service: 'test', instance: 'reader', level: 'silent' });

let proxy: KafkaProxy;
let server: KafkaServer;
let kafka: Kafka;
let admin: Admin;
let producer: Producer;
const readers: RecordReader[] = [];
let topics = 0;

beforeAll(async () => {
  proxy = await KafkaProxy.start(CLIENT);
  // Everybody who is not told otherwise by its client id passes through the proxy undamaged.
  server = await startKafka({ settings: { 'advertised.listeners': `PLAINTEXT://127.0.0.1:${proxy.port}` } });
  proxy.targetPort = server.port;
  const brokers = [`127.0.0.1:${proxy.port}`];
  kafka = createKafka({ brokers, tls: false, clientId: CLIENT, logger });
  const other = new Kafka({ brokers, clientId: 'other', logLevel: logLevel.NOTHING, retry: { retries: 20 } });
  admin = other.admin();
  producer = other.producer();
  await Promise.all([admin.connect(), producer.connect()]);
});
afterEach(async () => {
  proxy.fault = () => ({ kind: 'pass' });
  await Promise.all(readers.splice(0).map((reader) => reader.stop()));
});
afterAll(async () => {
  await Promise.all([admin?.disconnect(), producer?.disconnect()]);
  await server?.stop();
  await proxy?.stop();
});

const makeTopic = () => newTopic(admin, `topic-${(topics += 1)}`);
const append = (topic: string, ...values: string[]) => appendTo(producer, topic, values);

/** A reader and everything that it told. */
function read(
  topic: string,
  start: ReaderStart = { from: 'newest-record' },
  onValue?: (value: string, reader: RecordReader) => void,
) {
  const told = {
    offsets: [] as number[],
    values: [] as string[],
    resets: [] as Reset[],
    connections: [] as boolean[],
    deliveries: 0,
    isCaughtUp: false,
    lastRequestedAtMs: 0,
  };
  const reader: RecordReader = new RecordReader({
    kafka,
    topic,
    start,
    logger,
    maxBytes: 64 * 1024,
    onRecords: ({ records, caughtUp, requestedAtMs }) => {
      told.deliveries += 1;
      told.isCaughtUp = caughtUp;
      expect(requestedAtMs).toBeGreaterThanOrEqual(told.lastRequestedAtMs);
      told.lastRequestedAtMs = requestedAtMs;
      for (const { offset, value } of records) {
        told.offsets.push(offset);
        told.values.push(Buffer.from(value).toString());
        onValue?.(told.values.at(-1) as string, reader);
      }
    },
    onReset: (reset) => void told.resets.push(reset),
    onConnection: (isConnected) => void told.connections.push(isConnected),
  });
  readers.push(reader);
  return { reader, told };
}

describe('where it begins', () => {
  it('delivers the newest record first, and then what is written', async () => {
    const topic = await makeTopic();
    await append(topic, 'a', 'b', 'c');
    const { told } = read(topic);
    await eventually(() => expect(told.values).toEqual(['c']));
    await append(topic, 'd');
    await eventually(() => expect(told.offsets).toEqual([2, 3]));
    expect(told.resets).toEqual([]);
  });

  it('waits for the first record of an empty topic', async () => {
    const topic = await makeTopic();
    const { told } = read(topic);
    await eventually(() => expect(told.isCaughtUp).toBe(true));
    await append(topic, 'a');
    await eventually(() => expect(told.values).toEqual(['a']));
  });

  it('waits for a topic that does not exist yet', async () => {
    const { told } = read(`topic-${topics + 1}`);
    const topic = await makeTopic();
    await append(topic, 'a');
    await eventually(() => expect(told.values).toEqual(['a']));
  });

  it('begins at an offset, and goes elsewhere when it is told to', async () => {
    const topic = await makeTopic();
    await append(topic, 'a', 'b', 'c');
    let isBack = false;
    const { told } = read(topic, { from: 'offset', offset: 1 }, (value, reader) => {
      if (value === 'c' && !isBack) reader.seek(0);
      isBack ||= value === 'c';
    });
    await eventually(() => expect(told.values).toEqual(['b', 'c', 'a', 'b', 'c']));
  });
});

describe('when the place to read from is gone', () => {
  it('says that records were lost, and goes on with the newest', async () => {
    const topic = await makeTopic();
    await append(topic, 'a', 'b', 'c', 'd');
    await deleteRecords(admin, topic, 3);
    const { told } = read(topic, { from: 'offset', offset: 1 });
    await eventually(() => expect(told.values).toEqual(['d']));
    expect(told.resets).toEqual([{ reason: 'lost', wantedOffset: 1, startOffset: 3 }]);
  });

  it('notices that the topic was made anew', async () => {
    const topic = await makeTopic();
    await append(topic, 'a', 'b', 'c');
    const { told } = read(topic);
    await eventually(() => expect(told.values).toEqual(['c']));
    await admin.deleteTopics({ topics: [topic] });
    await eventually(() => admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 1 }] }));
    await append(topic, 'x');
    await eventually(() => expect(told.values).toEqual(['c', 'x']));
    expect(told.resets).toEqual([{ reason: 'recreated', wantedOffset: 3, startOffset: 0 }]);
  });
});

describe('whatever happens to the connection', () => {
  it('delivers each record once, in order and whole, while answers are cut in the middle', async () => {
    const topic = await makeTopic();
    const values = Array.from({ length: 120 }, (_, i) => `${i}:`.padEnd(1 + ((i * 7919) % 40_000), '.'));
    await append(topic, values[0] as string);
    let connections = 0;
    proxy.fault = () => ({ kind: 'cut', afterBytes: 50 + (((connections += 1) * 104_729) % 300_000) });
    const { told } = read(topic, { from: 'offset', offset: 0 });
    await append(topic, ...values.slice(1));
    await eventually(() => expect(told.values).toHaveLength(values.length), { withinMs: 120_000 });
    expect(told.values).toEqual(values);
    expect(told.resets).toEqual([]);
    expect(proxy.cuts).toBeGreaterThan(5);
  });

  it('leaves a broker that has fallen silent for a fresh connection within seconds', async () => {
    const topic = await makeTopic();
    await append(topic, 'a');
    let connections = 0;
    proxy.fault = () => ({ kind: (connections += 1) <= 2 ? 'silence' : 'pass' });
    const startedAt = performance.now();
    const { told } = read(topic);
    await eventually(() => expect(told.values).toEqual(['a']), { withinMs: 90_000 });
    // Five seconds for each of the two, and what a busy machine takes; those of kafkajs last for thirty.
    expect(performance.now() - startedAt).toBeLessThan(50_000);
  });

  it('makes a fresh connection when it is told to, and loses nothing', async () => {
    const topic = await makeTopic();
    await append(topic, 'a');
    const { reader, told } = read(topic);
    await eventually(() => expect(reader.isConnected).toBe(true));
    reader.reconnect();
    await append(topic, 'b');
    await eventually(() => expect(told.values).toEqual(['a', 'b']));
    expect(told.connections.slice(0, 3)).toEqual([true, false, true]);
  });

  it('goes on at the same record after the broker was killed, and after it was stopped in good order', async () => {
    const topic = await makeTopic();
    await append(topic, 'a');
    const { told } = read(topic);
    await eventually(() => expect(told.values).toEqual(['a']));
    await server.kill();
    await server.start();
    await append(topic, 'b');
    await eventually(() => expect(told.values).toEqual(['a', 'b']), { withinMs: 60_000 });
    await server.restart();
    await append(topic, 'c');
    await eventually(() => expect(told.values).toEqual(['a', 'b', 'c']), { withinMs: 60_000 });
    expect(told.resets).toEqual([]);
  });

  it('goes on after the broker stood still', async () => {
    const topic = await makeTopic();
    await append(topic, 'a');
    const { reader, told } = read(topic);
    await eventually(() => expect(told.values).toEqual(['a']));
    server.pause();
    try {
      await eventually(() => expect(reader.isConnected).toBe(false), { withinMs: 60_000 });
    } finally {
      server.resume();
    }
    await append(topic, 'b');
    await eventually(() => expect(told.values).toEqual(['a', 'b']), { withinMs: 60_000 });
  });
});

describe('its end', () => {
  it('brings all that was written within its interval by one fetch, and the first after a silence at once', async () => {
    const topic = await makeTopic();
    await append(topic, 'start');
    const deliveries: string[][] = [];
    const options = { kafka, topic, start: { from: 'newest-record' }, logger, fetchIntervalMs: 300 } as const;
    const reader = new RecordReader({
      ...options,
      onRecords: ({ records }) => {
        if (records.length > 0) deliveries.push(records.map(({ value }) => Buffer.from(value).toString()));
      },
      onReset: () => undefined,
    });
    readers.push(reader);
    const all = (): string[] => deliveries.flat();
    await eventually(() => expect(all()).toEqual(['start']));
    const written = Array.from({ length: 100 }, (_, n) => `v${n}`);
    const beganAtMs = performance.now();
    await append(topic, ...written);
    await eventually(() => expect(all()).toEqual(['start', ...written]));
    expect(deliveries.length).toBeLessThanOrEqual(3 + (performance.now() - beganAtMs) / 300);
    // Longer than an interval after the last fetch began, which is now a long poll: no rest stands before the answer.
    await eventually(() => expect(performance.now() - beganAtMs).toBeGreaterThan(1500));
    const tookMs: number[] = [];
    // The quickest of some: each may have had to wait for the machine.
    while (tookMs.length < 5 && !tookMs.some((ms) => ms < 1000)) {
      const count = deliveries.length;
      const atMs = performance.now();
      await append(topic, 'lone');
      await eventually(() => expect(deliveries.length).toBe(count + 1));
      tookMs.push(performance.now() - atMs);
      await eventually(() => expect(performance.now() - atMs).toBeGreaterThan(1500));
    }
    expect(Math.min(...tookMs)).toBeLessThan(1000);
  });

  it('stops at once in the middle of a long poll, and tells nothing afterwards', async () => {
    const topic = await makeTopic();
    const { reader, told } = read(topic);
    await eventually(() => expect(told.isCaughtUp).toBe(true));
    // Nothing is answered any more, and no time passes but what the process itself takes.
    server.pause();
    try {
      let isStopped = false;
      const stopping = reader.stop().then(() => (isStopped = true));
      for (let turn = 0; turn < 1000 && !isStopped; turn++) await setImmediate();
      expect(isStopped).toBe(true);
      await stopping;
    } finally {
      server.resume();
    }
    await reader.finished;
    const { deliveries } = told;
    await append(topic, 'a');
    expect(told.deliveries).toBe(deliveries);
  });

  it('ends with the error of a callback', async () => {
    const topic = await makeTopic();
    await append(topic, 'a');
    const { reader } = read(topic, { from: 'newest-record' }, () => {
      throw new Error('a fault of the caller');
    });
    await expect(reader.finished).rejects.toThrow('a fault of the caller');
  });
});

describe('readLastRecord', () => {
  it('answers the newest record, and nothing for a topic that is empty, emptied or missing', async () => {
    expect(await readLastRecord(kafka, 'no-such-topic')).toBeUndefined();
    const topic = await makeTopic();
    expect(await readLastRecord(kafka, topic)).toBeUndefined();
    await append(topic, 'a', 'b');
    expect(await readLastRecord(kafka, topic)).toMatchObject({ offset: 1, value: Buffer.from('b') });
    await deleteRecords(admin, topic, 2);
    expect(await readLastRecord(kafka, topic)).toBeUndefined();
  });
});
