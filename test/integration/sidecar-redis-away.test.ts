import { readFile } from 'node:fs/promises';
import { parseConfig, rulesOfSource } from '@tidemark/proto';
import { parse } from 'yaml';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createStack, startRedis, type RedisServer, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { metric } from './support/l2.ts';
import { Stream } from './support/stream.ts';

// What callers feel when Redis stops answering without closing its connections: the worst way of being away.

const DEADLINE_MS = 50;

let redis: RedisServer;
let stack: Stack;
let stream: Stream;
let app: App;

beforeAll(async () => {
  redis = await startRedis();
  stack = await createStack(sharedServers(), {
    prepareOnly: true,
    env: { sidecar: { TIDEMARK_REDIS_URL: redis.url, TIDEMARK_REDIS_DEADLINE: `${DEADLINE_MS}ms` } },
    config: { namespaces: { user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] } } },
  });
  const parsed = parseConfig(parse(await readFile(stack.configFile, 'utf8')));
  if (!parsed.ok) throw new Error('the configuration is not valid');
  const covers = rulesOfSource(parsed.config, stack.source).namespaces.map(({ hash }) => hash);
  stream = new Stream({ brokers: stack.brokers, topic: stack.topic, covers });
  await stream.start();
  stream.beat();
  await stack.sidecars[0]!.start();
  app = new App(stack.sidecars[0]!.url);
});

afterAll(async () => {
  await stream?.stop();
  await stack?.stop();
  await redis?.stop();
});

async function l2State(): Promise<string> {
  const status = (await (await fetch(`${stack.sidecars[0]!.admin}/v1/status`)).json()) as { l2: { state: string } };
  return status.l2.state;
}

/** Milliseconds of so many reads, one after another, sorted. */
async function timings(count: number, keyOf: (i: number) => string): Promise<number[]> {
  const all: number[] = [];
  for (let i = 0; i < count; i++) {
    const startedAt = performance.now();
    await app.get('user', keyOf(i));
    all.push(performance.now() - startedAt);
  }
  return all.toSorted((a, b) => a - b);
}

it('hits are as fast as ever, a miss waits for the deadline at the most, and soon not at all', async () => {
  const { lease } = await app.get('user', 'hot');
  expect((await app.put('user', 'hot', 'value', { lease })).status).toBe(201);
  const before = await timings(300, () => 'hot');
  const { admin } = stack.sidecars[0]!;
  const asked = (): Promise<number> => metric(admin, 'tidemark_l2_commands_total{command="read"}');
  redis.pause();
  try {
    // Medians, because the machine may be busy with other things at any one of them; what waits for Redis does so each time.
    const firstMisses = await timings(7, (i) => `first-${i}`);
    expect(firstMisses[3]).toBeLessThan(DEADLINE_MS + 100);
    await eventually(async () => expect(await l2State()).toBe('down'));
    const askedBefore = await asked();
    const hits = await timings(300, () => 'hot');
    expect(hits[150]!).toBeLessThan(Math.max(before[150]! * 3, DEADLINE_MS / 2));
    const misses = await timings(100, (i) => `later-${i}`);
    expect(misses[50]!).toBeLessThan(DEADLINE_MS / 2);
    expect(await asked()).toBe(askedBefore);
  } finally {
    redis.resume();
  }
  await eventually(async () => expect(await l2State()).toBe('up'));
});
