import { setImmediate as nextTurn } from 'node:timers/promises';
import { createKafka, createLogger, RecordReader } from '@tidemark/runtime';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { KafkaWriteLog } from '../../sidecar/src/adapters/kafka-writes.ts';
import type { Appended } from '../../sidecar/src/core/behind-writer.ts';
import { Dice } from '../../sidecar/src/testing/random.ts';
import { startKafka, type KafkaServer } from '../kit/index.ts';
import { eventually } from './support/eventually.ts';
import { KafkaProxy } from './support/tcp-proxy.ts';
import { newTopic } from './support/topics.ts';

// The log that writes wait in, on a broker that is cut off in the middle of answers, is paused, and is killed.

const CLIENT = 'log-under-test';
const TOPIC = 'writes';
const logger = createLogger({ service: 'test', instance: 'log', level: 'silent' });

let proxy: KafkaProxy;
let server: KafkaServer;
let kafka: Kafka;
const logs: KafkaWriteLog[] = [];

beforeAll(async () => {
  proxy = await KafkaProxy.start(CLIENT);
  server = await startKafka({ settings: { 'advertised.listeners': `PLAINTEXT://127.0.0.1:${proxy.port}` } });
  proxy.targetPort = server.port;
  const brokers = [`127.0.0.1:${proxy.port}`];
  kafka = createKafka({ brokers, tls: false, clientId: CLIENT, logger });
  const admin = new Kafka({ brokers, clientId: 'other', logLevel: logLevel.NOTHING, retry: { retries: 20 } }).admin();
  await admin.connect();
  await newTopic(admin, TOPIC);
  await admin.disconnect();
});
afterEach(async () => {
  proxy.fault = () => ({ kind: 'pass' });
  await Promise.all(logs.splice(0).map((log) => log.stop()));
});
afterAll(async () => {
  await server?.stop();
  await proxy?.stop();
});

function open(deadlineMs = 10_000): KafkaWriteLog {
  const log = new KafkaWriteLog({ kafka, topic: TOPIC, deadlineMs, maxQueuedBytes: 100_000 });
  logs.push(log);
  return log;
}

/** All records of the topic, by offset. */
async function contents(): Promise<readonly string[]> {
  const found: string[] = [];
  const other = createKafka({ brokers: [`127.0.0.1:${proxy.port}`], tls: false, clientId: 'reader', logger });
  let isDone = false;
  const reader = new RecordReader({
    kafka: other,
    topic: TOPIC,
    logger,
    start: { from: 'offset', offset: 0 },
    onRecords: ({ records, caughtUp }) => {
      for (const { offset, value } of records) found[offset] = Buffer.from(value).toString();
      isDone ||= caughtUp;
    },
    onReset: () => expect.unreachable(),
  });
  await eventually(() => expect(isDone).toBe(true));
  await reader.stop();
  return found;
}

/** Callers that write one text after the other; answers what each was told. */
async function callers(log: KafkaWriteLog, options: { name: string; callers: number; writes: number }) {
  const told = new Map<string, Appended>();
  await Promise.all(
    Array.from({ length: options.callers }, async (_, caller) => {
      for (let n = 0; n < options.writes; n++) {
        const text = `${options.name}-${caller}-${n}`;
        told.set(text, await log.append(Buffer.from(text)));
      }
    }),
  );
  return told;
}

/** Whatever was acknowledged stands at its offset and nowhere else; what was refused stands nowhere; each caller's in order. */
async function expectKept(told: ReadonlyMap<string, Appended>): Promise<{ acknowledged: number; unknown: number }> {
  const found = await contents();
  const at = new Map<string, number[]>();
  for (const [offset, text] of found.entries()) at.set(text, [...(at.get(text) ?? []), offset]);
  const count = { acknowledged: 0, unknown: 0 };
  const newest = new Map<string, number>();
  for (const [text, appended] of told) {
    const caller = text.slice(0, text.lastIndexOf('-'));
    if ('offset' in appended) {
      count.acknowledged += 1;
      expect([text, at.get(text)]).toEqual([text, [appended.offset]]);
      expect(appended.offset).toBeGreaterThan(newest.get(caller) ?? -1);
      newest.set(caller, appended.offset);
    } else if (appended.failed === 'unknown') {
      count.unknown += 1;
      expect((at.get(text) ?? []).length).toBeLessThanOrEqual(1);
    } else expect(at.has(text)).toBe(false);
  }
  return count;
}

it(
  '[I19] loses, repeats and reorders nothing while connections are cut in the middle of answers',
  { timeout: 300_000 },
  async () => {
    const dice = new Dice(7);
    const { cuts } = proxy;
    const log = open();
    const told = new Map<string, Appended>();
    // As many rounds as it takes: a busy machine makes fewer connections.
    for (let round = 0; proxy.cuts - cuts < 40; round++) {
      const writing = callers(log, { name: `cut-${round}`, callers: 8, writes: 20 }).then((some) => {
        for (const [text, appended] of some) told.set(text, appended);
      });
      for (let n = dice.below(200); n > 0; n--) await nextTurn();
      proxy.cutAll();
      await writing;
    }
    const { acknowledged, unknown } = await expectKept(told);
    process.stdout.write(`${proxy.cuts - cuts} cuts: ${acknowledged} acknowledged, ${unknown} unknown\n`);
    expect(acknowledged).toBeGreaterThan(200);
  },
);

it(
  '[I19] never takes the answer to a batch that came late for that to the next one',
  { timeout: 300_000 },
  async () => {
    const log = open(3_000);
    const told = await callers(log, { name: 'before', callers: 1, writes: 2 });
    server.pause();
    const during = callers(log, { name: 'during', callers: 3, writes: 1 });
    const paused = await during;
    expect([...paused.values()].filter((each) => 'offset' in each)).toEqual([]);
    // kafkajs has given up, and the broker still has in its socket what it was sent.
    const away = { failed: 'unsent', detail: expect.stringContaining('cannot be reached') };
    await eventually(async () => expect(await log.append(Buffer.from('probe'))).toMatchObject(away), {
      withinMs: 120_000,
    });
    server.resume();
    const after = new Map<string, Appended>();
    await eventually(
      async () => {
        const more = await callers(log, { name: `after-${after.size}`, callers: 3, writes: 1 });
        for (const [text, appended] of more) after.set(text, appended);
        expect([...more.values()].every((each) => 'offset' in each)).toBe(true);
      },
      { withinMs: 120_000, everyMs: 100 },
    );
    await expectKept(new Map([...told, ...paused, ...after]));
  },
);

it('[I19] says at once that Kafka is away, or that too many wait', { timeout: 300_000 }, async () => {
  const log = open();
  await callers(log, { name: 'first', callers: 1, writes: 1 });
  server.hold();
  await server.kill();
  const many = await Promise.all(Array.from({ length: 20 }, () => log.append(Buffer.alloc(10_000))));
  expect(many.filter((each) => 'failed' in each && each.failed === 'full').length).toBeGreaterThan(5);
  expect(many.some((each) => 'offset' in each)).toBe(false);
  await server.release();
  await eventually(async () => expect(await log.append(Buffer.from('back'))).toEqual({ offset: expect.any(Number) }), {
    withinMs: 120_000,
  });
});
