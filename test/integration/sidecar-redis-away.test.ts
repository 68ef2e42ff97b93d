import { readFile } from 'node:fs/promises';
import { parseConfig, rulesOfSource } from '@tidemark/proto';
import { parse } from 'yaml';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createStack, startRedis, type RedisServer, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { App } from './support/app.ts';
import { PATIENT } from './support/patient.ts';
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
    env: {
      sidecar: {
        ...PATIENT,
        TIDEMARK_REDIS_URL: redis.url,
        TIDEMARK_REDIS_DEADLINE: `${DEADLINE_MS}ms`,
      },
    },
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

/** Reads so many keys one after another; answers how each ended, and the milliseconds that it took. */
async function reads(count: number, keyOf: (i: number) => string): Promise<{ statuses: number[]; ms: number[] }> {
  const [statuses, ms]: [number[], number[]] = [[], []];
  for (let i = 0; i < count; i++) {
    const startedAt = performance.now();
    statuses.push((await app.get('user', keyOf(i))).status);
    ms.push(performance.now() - startedAt);
  }
  return { statuses, ms };
}

it('hits do not ask it, a miss waits for the deadline at the most, and soon does not ask it either', async () => {
  await eventually(async () => {
    const { lease } = await app.get('user', 'hot', { 'cache-control': 'no-cache' });
    expect((await app.put('user', 'hot', 'value', { lease })).status).toBe(201);
  });
  const { admin } = stack.sidecars[0]!;
  const asked = (): Promise<number> => metric(admin, 'tidemark_l2_commands_total{command="read"}');
  await eventually(async () => expect(await l2State()).toBe('up'));
  redis.pause();
  try {
    const hits = async (count: number): Promise<void> => {
      const before = await asked();
      expect(new Set((await reads(count, () => 'hot')).statuses)).toEqual(new Set([200]));
      expect(await asked()).toBe(before);
    };
    // While nobody knows yet that it is silent.
    await hits(50);
    const first = await reads(7, (i) => `first-${i}`);
    expect(first.statuses).toEqual(first.statuses.map(() => 404));
    // The quickest of those that did ask, for the machine may be busy; a connection lives in silence for a second.
    expect(Math.min(...first.ms.slice(0, 4))).toBeLessThan(1_000);
    await eventually(async () => expect(await l2State()).toBe('down'));
    await hits(300);
    const before = await asked();
    expect(new Set((await reads(100, (i) => `later-${i}`)).statuses)).toEqual(new Set([404]));
    expect(await asked()).toBe(before);
  } finally {
    redis.resume();
  }
  await eventually(async () => expect(await l2State()).toBe('up'));
});
