import { describe } from 'vitest';
import { startRedis } from '../../kit/index.ts';
import { redisWorld } from './redis-world.ts';
import { l2Contract } from './suite.ts';

const DIFFERENCES = { knowsEpochs: true, maxValueBytes: Infinity, slackMs: 0 };

describe.each([1, 4])('Redis, with %i buckets', (buckets) => {
  l2Contract(async () => {
    const server = await startRedis({ settings: { appendonly: 'no' } });
    return redisWorld({
      ...{ url: server.url, buckets },
      pause: () => server.pause(),
      resume: () => server.resume(),
      flush: (client) => client.command('FLUSHALL'),
      stop: () => server.stop(),
    });
  }, DIFFERENCES);
});
