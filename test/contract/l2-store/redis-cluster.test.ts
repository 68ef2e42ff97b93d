import { describe } from 'vitest';
import { startRedisCluster } from '../../kit/index.ts';
import { logContract } from './log.ts';
import { forLittleUser, LITTLE_USER, redisWorld } from './redis-world.ts';
import { l2Contract } from './suite.ts';

describe('a cluster of Valkey', () => {
  l2Contract(
    async () => {
      const cluster = await startRedisCluster({ masters: 3, replicas: 0 });
      for (const node of cluster.nodes) await node.ask('ACL', 'SETUSER', ...LITTLE_USER, '+cluster');
      return redisWorld({
        ...{ url: forLittleUser(cluster.url), buckets: 8 },
        pause: () => cluster.nodes.forEach((node) => node.pause()),
        resume: () => cluster.nodes.forEach((node) => node.resume()),
        flush: () => cluster.flush(),
        stop: () => cluster.stop(),
      });
    },
    { hasLog: true, maxValueBytes: Infinity, slackMs: 0 },
    logContract,
  );
});
