import type { Cluster } from '../cluster.ts';
import { onRedis } from '../redis-pair.ts';
import type { FaultKind } from './fault.ts';

const targets = ['redis'] as const;
const breaks = (): readonly string[] => targets;

const flush: FaultKind = {
  name: 'redis-flushall',
  says: 'FLUSHALL',
  targets,
  breaks,
  lastsMs: [0, 0],
  start: async ({ redis }) => {
    await onRedis(redis.primary.port, (client) => client.flushall());
    return async () => undefined;
  },
};

/** What was deleted meanwhile is there again, and the log that says so is gone. */
const restore: FaultKind = {
  name: 'redis-older-data',
  says: 'Redis comes back with older data',
  targets,
  breaks,
  lastsMs: [1_000, 5_000],
  start: async ({ redis, process }, _, { ending }) => {
    const snapshot = await redis.snapshot();
    return async () => {
      ending('redis');
      await process('redis').ready();
      await redis.primary.restore(snapshot);
      await snapshot.remove();
    };
  },
};

const junk = 'junk:';
const junkKeys = 1_000;

/** No more memory than it uses now, and others who write: first the oldest go, entries or the log itself. */
const eviction = (policy: 'allkeys-lru' | 'volatile-ttl'): FaultKind => ({
  name: `redis-${policy}`,
  says: `Redis is full and evicts by ${policy}`,
  targets,
  breaks,
  lastsMs: [1_000, 4_000],
  start: async (cluster) => {
    await onRedis(cluster.redis.primary.port, async (client) => {
      const used = Number(/^used_memory:(\d+)/m.exec(await client.info('memory'))?.[1]);
      await client.config('SET', 'maxmemory-policy', policy);
      await client.config('SET', 'maxmemory', String(used));
      const writes = client.pipeline();
      for (let n = 0; n < junkKeys; n += 1) writes.set(`${junk}${n}`, 'x'.repeat(1_000), 'EX', 86_400);
      await writes.exec(); // some are refused where nothing is left to evict
    });
    return () => unlimited(cluster);
  },
});

async function unlimited({ redis }: Cluster): Promise<void> {
  await onRedis(redis.primary.port, async (client) => {
    await client.config('SET', 'maxmemory', '0');
    await client.config('SET', 'maxmemory-policy', 'noeviction');
    await client.unlink(...Array.from({ length: junkKeys }, (_, n) => `${junk}${n}`));
  });
}

/** Replication is asynchronous: the replica that takes over lacks the newest writes, and has what they deleted. */
const failover: FaultKind = {
  name: 'redis-failover',
  says: 'the primary Redis dies, and its replica takes over without the newest writes',
  targets,
  breaks,
  // The applier must write something for the replica to lack.
  needs: () => [
    'postgres',
    'invalidator',
    'invalidator-postgres',
    'invalidator-kafka',
    'kafka',
    'applier-kafka',
    'applier',
    'applier-redis',
  ],
  lastsMs: [500, 2_000],
  start: async ({ redis }, _, { ending }) => {
    await redis.fallBehind(2_000);
    const { primary } = redis;
    primary.hold();
    ending('redis');
    await primary.kill();
    return () => redis.failOver();
  },
};

export const redisFaults: readonly FaultKind[] = [
  flush,
  restore,
  eviction('allkeys-lru'),
  eviction('volatile-ttl'),
  failover,
];
