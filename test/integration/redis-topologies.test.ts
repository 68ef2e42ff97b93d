import { bucketKeys } from '@tidemark/proto/redis';
import { Redis } from 'ioredis';
import { afterEach, expect, it, onTestFailed } from 'vitest';
import {
  createStack,
  startRedis,
  startRedisCluster,
  startSentinels,
  type RedisSentinels,
  type RedisServer,
  type Stack,
} from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { eventually } from './support/eventually.ts';
import { JudgedLoad, judgedNamespaces, judgedSql } from './support/judged-load.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';

// Sidecars and the applier over real sentinels and over a real cluster whose masters fail, are replaced and give slots away, under
// load: nobody is served an old value, and values are shared again each time.

const BUCKETS = 8;
/** The last bound of what takes some seconds where nobody has to try again. */
const TAKEN_OVER_WITHIN_MS = 240_000;
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A connection to one server, that waits for it. */
function connectionTo({ url }: RedisServer): Redis {
  const connection = new Redis(url, { protocol: 2, retryStrategy: () => 100 });
  connection.on('error', () => undefined); // it is killed
  cleanups.push(async () => connection.disconnect());
  return connection;
}

async function followsItsMaster(connection: Redis): Promise<void> {
  await eventually(async () => expect(await connection.info('replication')).toContain('master_link_status:up'), {
    withinMs: TAKEN_OVER_WITHIN_MS,
  });
}

/** Asks until it is done: on a busy machine the sentinels give up one that takes 3 s, and rest for a while when they were not run for 2. */
async function failOverTo(sentinels: RedisSentinels, { port }: RedisServer): Promise<void> {
  const ask = async (): Promise<void> => {
    if ((await sentinels.masterPort()) === port) return;
    await sentinels.failOver();
    throw new Error(`the master is not at port ${port} yet`);
  };
  await eventually(ask, { withinMs: TAKEN_OVER_WITHIN_MS, everyMs: 500 });
}

async function stackOn(redisUrl: string, buckets: number): Promise<Stack> {
  const sources = { main: { topic: 't', l2: { buckets } } };
  const stack = await createStack(sharedServers(), {
    sidecars: 2,
    env: {
      sidecar: { TIDEMARK_REDIS_URL: redisUrl, TIDEMARK_COALESCE_TIMEOUT: '200ms' },
      applier: { TIDEMARK_REDIS_URL: redisUrl },
    },
    initSql: judgedSql,
    config: { sources, namespaces: judgedNamespaces },
  });
  cleanups.push(() => stack.stop());
  showLogsOnFailure(stack);
  await cacheable(stack);
  return stack;
}

it(
  '[I7] sentinels: a master that is killed, and one that gives way, are replaced',
  { timeout: 1_200_000 },
  async () => {
    const [first, second] = [await startRedis(), await startRedis({ settings: { 'repl-diskless-sync-delay': '0' } })];
    cleanups.push(
      () => first.stop(),
      () => second.stop(),
    );
    const [toFirst, toSecond] = [connectionTo(first), connectionTo(second)];
    await toSecond.replicaof('127.0.0.1', first.port);
    await followsItsMaster(toSecond);
    const sentinels = await startSentinels(first.port);
    cleanups.push(() => sentinels.stop());
    onTestFailed(() => {
      for (const sentinel of sentinels.sentinels) process.stderr.write(`${sentinel.logs(40).join('\n')}\n`);
    });
    const load = new JudgedLoad(await stackOn(sentinels.url, 1));
    await load.goesOn();
    await first.kill();
    await eventually(async () => expect(await sentinels.masterPort()).toBe(second.port), {
      withinMs: TAKEN_OVER_WITHIN_MS,
    });
    await load.goesOn();
    // It comes back as what it was, and the sentinels make a replica of it.
    await first.start();
    await followsItsMaster(toFirst);
    await load.goesOn();
    await failOverTo(sentinels, first);
    await load.goesOn();
    await load.judge();
  },
);

it('[I7] a cluster: a master is killed, and slots move while they are used', { timeout: 1_200_000 }, async () => {
  const cluster = await startRedisCluster({ masters: 3, replicas: 3 });
  cleanups.push(() => cluster.stop());
  const [one] = cluster.nodes;
  const stack = await stackOn(cluster.url, BUCKETS);
  const slots = await Promise.all(
    Array.from({ length: BUCKETS }, async (_, i) =>
      Number(await one?.ask('CLUSTER', 'KEYSLOT', bucketKeys(stack.source, i).log)),
    ),
  );
  const masters = new Set(await Promise.all(slots.map((slot) => cluster.masterOf(slot))));
  expect(masters.size).toBeGreaterThan(1);
  const load = new JudgedLoad(stack);
  await load.goesOn();

  // Every slot with a log moves to the next master, and all it holds with it.
  const all = cluster.nodes.slice(0, 3);
  for (const slot of slots) {
    const from = await cluster.masterOf(slot);
    const to = all[(all.indexOf(from) + 1) % 3] as (typeof all)[number];
    await cluster.moveSlot(slot, to);
    expect((await cluster.masterOf(slot)).id).toBe(to.id);
  }
  await load.goesOn();

  const [slot] = slots as [number];
  await cluster.setNodeTimeout(4_000);
  const killed = await cluster.masterOf(slot);
  await killed.kill();
  await eventually(async () => expect((await cluster.masterOf(slot)).id).not.toBe(killed.id), {
    withinMs: TAKEN_OVER_WITHIN_MS,
  });
  await load.goesOn();
  await killed.start();
  await load.goesOn();
  await load.judge();
});
