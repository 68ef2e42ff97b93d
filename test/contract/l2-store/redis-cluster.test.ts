import { Redis } from 'ioredis';
import { describe } from 'vitest';
import { eventually } from '../../integration/support/eventually.ts';
import { freePort, startRedis, type RedisServer } from '../../kit/index.ts';
import { redisWorld } from './redis-world.ts';
import { logContract } from './log.ts';
import { l2Contract } from './suite.ts';

const SLOTS = 16_384;
const MASTERS = 3;

/** Three masters that know each other and share the slots. */
async function startCluster(): Promise<{ servers: RedisServer[]; admins: Redis[] }> {
  const servers: RedisServer[] = [];
  for (let i = 0; i < MASTERS; i++) {
    const settings = {
      ...{ 'cluster-enabled': 'yes', 'cluster-node-timeout': '5000', databases: '1', appendonly: 'no' },
      // By default it is 10,000 above the port, where there may be none.
      'cluster-port': String(await freePort()),
    };
    servers.push(await startRedis({ settings }));
  }
  const admins = servers.map(({ url }) => new Redis(url, { protocol: 2 }));
  const [first] = servers as [RedisServer];
  for (const [i, admin] of admins.entries()) {
    const [from, to] = [i, i + 1].map((at) => Math.floor((SLOTS * at) / MASTERS)) as [number, number];
    await admin.call('CLUSTER', 'ADDSLOTS', ...Array.from({ length: to - from }, (_, n) => from + n));
    if (i > 0) {
      const bus = String(await admins[0]!.config('GET', 'cluster-port')).split(',')[1];
      await admin.call('CLUSTER', 'MEET', '127.0.0.1', first.port, bus ?? '');
    }
  }
  await eventually(
    async () => {
      for (const admin of admins) {
        const info = String(await admin.call('CLUSTER', 'INFO'));
        if (!info.includes('cluster_state:ok') || !info.includes(`cluster_known_nodes:${MASTERS}`))
          throw new Error(info);
      }
    },
    { withinMs: 30_000 },
  );
  return { servers, admins };
}

describe('a cluster of Redis', () => {
  l2Contract(
    async () => {
      const { servers, admins } = await startCluster();
      return redisWorld({
        url: `redis+cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
        buckets: 8,
        pause: () => servers.forEach((server) => server.pause()),
        resume: () => servers.forEach((server) => server.resume()),
        flush: () => Promise.all(admins.map((admin) => admin.flushall())),
        stop: async () => {
          for (const admin of admins) admin.disconnect();
          await Promise.all(servers.map((server) => server.stop()));
        },
      });
    },
    { hasLog: true, maxValueBytes: Infinity, slackMs: 0 },
    logContract,
  );
});
