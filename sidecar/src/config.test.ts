import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readConfig } from './config.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidemark-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

function read(env: Record<string, string>, buckets = 1): ReturnType<typeof readConfig> {
  const file = join(folder, `${buckets}.yaml`);
  writeFileSync(file, `sources: { main: { topic: t, l2: { buckets: ${buckets} } } }\nnamespaces: {}\n`);
  return readConfig([], { TIDEMARK_CONFIG: file, TIDEMARK_KAFKA_BROKERS: 'a:1', ...env });
}

describe('the backend that sidecars share', () => {
  it('is Redis, memcached or none, and never both', () => {
    expect(read({})).toMatchObject({ redisUrl: undefined, memcachedUrl: undefined });
    expect(read({ TIDEMARK_REDIS_URL: 'redis://r' })?.redisUrl).toBe('redis://r');
    expect(read({ TIDEMARK_MEMCACHED_URL: 'memcached://m:1,n:2/shop' })).toMatchObject({
      ...{ memcachedUrl: 'memcached://m:1,n:2/shop', memcachedDeadlineMs: 50, memcachedMaxItemBytes: 1024 ** 2 },
    });
    expect(() => read({ TIDEMARK_REDIS_URL: 'redis://r', TIDEMARK_MEMCACHED_URL: 'memcached://m' })).toThrow(
      'found both, expected one of them or none',
    );
  });

  it.each([
    [
      'a URL of something else',
      { TIDEMARK_MEMCACHED_URL: 'redis://u:s3cret@r' },
      /TIDEMARK_MEMCACHED_URL.*expected memcached:/,
    ],
    ['an item that is too small', { TIDEMARK_MEMCACHED_MAX_ITEM: '1KiB' }, /found "1KiB", expected a size from 64KiB/],
    ['an item in other units', { TIDEMARK_MEMCACHED_MAX_ITEM: '1MB' }, /expected a size/],
    ['no deadline', { TIDEMARK_MEMCACHED_DEADLINE: '0ms' }, /TIDEMARK_MEMCACHED_DEADLINE/],
  ])('refuses %s', (_, env, why) => {
    expect(() => read(env)).toThrow(why);
    expect(() => read(env)).not.toThrow('s3cret');
  });

  it('refuses a document with what memcached cannot do, and takes it with Redis', () => {
    expect(() => read({ TIDEMARK_MEMCACHED_URL: 'memcached://m' }, 4)).toThrow('l2.buckets: found 4, expected 1');
    expect(read({ TIDEMARK_REDIS_URL: 'redis://r' }, 4)).toBeDefined();
  });
});
