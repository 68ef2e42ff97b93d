import { describe } from 'vitest';
import type { RedisFlavour } from '../../kit/index.ts';
import { ownRedisWorld } from './redis-world.ts';
import { logContract } from './log.ts';
import { l2Contract } from './suite.ts';

const DIFFERENCES = { hasLog: true, maxValueBytes: Infinity, slackMs: 0 };

interface Kind {
  readonly name: string;
  readonly buckets: number;
  readonly flavour?: RedisFlavour;
  readonly isRestricted?: boolean;
}

const kinds: readonly Kind[] = [
  { name: 'Redis, for a user with few rights', buckets: 1, isRestricted: true },
  { name: 'Redis', buckets: 4 },
  { name: 'Redis 6.2', buckets: 4, flavour: 'redis-6.2' },
  { name: 'Valkey', buckets: 4, flavour: 'valkey' },
];

describe.each(kinds)('$name, with $buckets buckets', ({ buckets, flavour, isRestricted }) => {
  l2Contract(() => ownRedisWorld({ buckets, flavour, isRestricted }), DIFFERENCES, logContract);
});
