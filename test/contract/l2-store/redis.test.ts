import { describe } from 'vitest';
import { startRedis, type RedisFlavour } from '../../kit/index.ts';
import { redisWorld } from './redis-world.ts';
import { logContract } from './log.ts';
import { l2Contract } from './suite.ts';

const DIFFERENCES = { hasLog: true, maxValueBytes: Infinity, slackMs: 0 };

interface Kind {
  readonly name: string;
  readonly buckets: number;
  readonly flavour?: RedisFlavour;
}

const kinds: readonly Kind[] = [
  { name: 'Redis', buckets: 1 },
  { name: 'Redis', buckets: 4 },
  { name: 'Redis 6.2', buckets: 4, flavour: 'redis-6.2' },
  { name: 'Valkey', buckets: 4, flavour: 'valkey' },
];

describe.each(kinds)('$name, with $buckets buckets', ({ buckets, flavour }) => {
  l2Contract(
    async () => {
      const server = await startRedis({ ...(flavour && { flavour }), settings: { appendonly: 'no' } });
      return redisWorld({
        ...{ url: server.url, buckets },
        pause: () => server.pause(),
        resume: () => server.resume(),
        flush: (client) => client.command('FLUSHALL'),
        stop: () => server.stop(),
      });
    },
    DIFFERENCES,
    logContract,
  );
});
