import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRedis, type RedisFlavour, type RedisServer } from '../kit/index.ts';
import { CarelessApplier } from './redis-log/applier.ts';
import { randomFrom } from './redis-log/random.ts';
import { SCRIPTS } from './redis-log/scripts.ts';
import { PAIRS } from './redis-log/source.ts';
import { TwinRedis } from './redis-log/twin.ts';
import { World } from './redis-log/world.ts';

// A few histories of redis-log.test.ts on the other servers of the family, call by call and with all contents compared with the
// model that the usual one is compared with. All of it runs on them with TIDEMARK_TEST_REDIS_FLAVOUR.

const STEPS = 120;
const HISTORIES = 12;
const others: readonly (readonly [flavour: RedisFlavour, says: RegExp])[] = [
  ['redis-6.2', /^redis_version:6\.2\./m],
  ['valkey', /^server_name:valkey\r?\n(?:.*\n)*valkey_version:9\./m],
];

describe.each(others)('on %s', (flavour, says) => {
  let server: RedisServer;
  let redis: Redis;
  beforeAll(async () => {
    server = await startRedis({ flavour, settings: { appendonly: 'no' } });
    redis = new Redis(server.url, { protocol: 2 });
  });
  afterAll(async () => {
    redis?.disconnect();
    await server?.stop();
  });

  it('[I7] the scripts do what they do on the usual server', async () => {
    expect(await redis.info('server')).toMatch(says);
    const twin = new TwinRedis(redis);
    for (let seed = 1; seed <= HISTORIES; seed++) {
      await twin.flushdb();
      const random = randomFrom(seed);
      const world = new World(twin, SCRIPTS, random, { promoting: randomFrom(-seed) });
      for (const rules of [new Set(PAIRS), new Set(PAIRS.slice(0, 2))]) {
        const fresh = (prefix: string): string => world.fresh(prefix);
        world.add(new CarelessApplier({ redis: twin, scripts: SCRIPTS, source: world.source, random, rules, fresh }));
      }
      for (let i = 0; i < STEPS; i++) expect(await world.step()).toBeUndefined();
      await twin.compareAll();
    }
    expect(twin.compared).toBeGreaterThan(HISTORIES * 100);
  }, 3_600_000);
});
