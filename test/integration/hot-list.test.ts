import { bucketKeys, bucketOf, HOT_SCRIPT } from '@tidemark/proto/redis';
import { createLogger, createRedis, redisScript, type RedisClient } from '@tidemark/runtime';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RedisStore } from '../../sidecar/src/adapters/redis/store.ts';
import { type RedisFlavour, type RedisServer, startRedis } from '../kit/index.ts';
import { eventually } from './support/eventually.ts';

// The list of what sidecars read most, in Redis.

const DEADLINE_MS = 10_000;
const namespace = { index: 0, name: 'user', hash: 1n, hashHex: '00000000000000ab' };
const flavours: readonly RedisFlavour[] = ['usual', 'redis-6.2', 'valkey'];

describe.each(flavours)('on %s', (flavour) => {
  let server: RedisServer;
  let client: RedisClient;
  let store: RedisStore;

  beforeAll(async () => {
    server = await startRedis({ flavour, settings: { appendonly: 'no' } });
    const logger = createLogger({ service: 'test', instance: 'hot-list', level: 'silent' });
    client = createRedis(server.url, { deadlineMs: DEADLINE_MS, logger });
    await eventually(() => {
      if (!client.isUp) throw new Error('no connection yet');
    });
    store = new RedisStore({
      ...{ client, source: 'main', buckets: 4, deadlineMs: DEADLINE_MS, onLatency: () => undefined },
      packing: () => ({ compressOverBytes: Infinity, chunkBytes: Infinity, maxItemBytes: 0 }),
    });
  });
  beforeEach(() => client.command('FLUSHALL'));
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });

  const keys = bucketKeys('main', bucketOf(4, namespace.hashHex, ''));
  const list = keys.hot(namespace.hashHex);

  it('is what several sidecars read, each with the same weight, the hottest first', async () => {
    const { hotList } = store;
    expect(await hotList.read(namespace, 10)).toEqual([]);
    await hotList.add(namespace, ['a', 'b', 'c', 'd']);
    await hotList.add(namespace, ['e', 'b']);
    await hotList.add(namespace, ['b', 'ä€😀']);
    expect(await hotList.read(namespace, 3)).toEqual(['b', 'e', 'a']);
    expect((await hotList.read(namespace, 100)) as string[]).toHaveLength(6);
    expect(await hotList.read('plain', 10)).toEqual([]);
  });

  it('forgets what is not read any more, and goes itself when nobody adds to it', async () => {
    const { hotList } = store;
    await hotList.add(namespace, ['old']);
    const before = Number(await client.command('ZSCORE', list, 'old'));
    await client.command('DEL', keys.decay(namespace.hashHex));
    await hotList.add(namespace, ['new']);
    await hotList.add(namespace, ['new']);
    expect(Number(await client.command('ZSCORE', list, 'old'))).toBeCloseTo(before * 0.95, 5);
    expect(await hotList.read(namespace, 1)).toEqual(['new']);
    expect(Number(await client.command('PTTL', list))).toBeGreaterThan(6 * 86_400_000);
  });

  it('keeps a bounded number of keys: the hottest', async () => {
    const script = redisScript(HOT_SCRIPT);
    const members = ['a', '3', 'b', '2', 'c', '1'];
    const call = [3, 60_000, '0.95', 1_000_000, ...members];
    await client.script(script, [list, keys.decay(namespace.hashHex)], call);
    expect(
      await client.script(script, [list, keys.decay(namespace.hashHex)], [2, ...call.slice(1, 4), 'd', '2.5']),
    ).toBe(2);
    expect(await store.hotList.read(namespace, 10)).toEqual(['a', 'd']);
  });

  it('may hold anything: what is no key is left out, and what is no list is no harm', async () => {
    await client.command('ZADD', list, 3, 'x'.repeat(513), 2, '', 1, 'fine');
    expect(await store.hotList.read(namespace, 10)).toEqual(['fine']);
    await client.command('SET', list, 'no list');
    await store.hotList.add(namespace, ['a']);
    expect(await store.hotList.read(namespace, 10)).toEqual({
      failed: expect.stringContaining('Redis did not answer'),
    });
  });
});
