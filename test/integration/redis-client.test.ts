import {
  createLogger,
  createRedis,
  DeadlineError,
  redisScript,
  RedisUnavailableError,
  type RedisClient,
} from '@tidemark/runtime';
import { afterEach, describe, expect, it } from 'vitest';
import { startRedis, type RedisOptions, type RedisServer } from '../kit/index.ts';
import { eventually } from './support/eventually.ts';
import { FakeSentinel } from './support/fake-sentinel.ts';

const DEADLINE_MS = 60;
const logger = createLogger({ service: 'test', instance: 'redis', level: 'silent' });
const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function server(settings: RedisOptions['settings'] = {}): Promise<RedisServer> {
  const started = await startRedis({ settings });
  cleanups.push(() => started.stop());
  return started;
}

function client(url: string): { redis: RedisClient; changes: boolean[] } {
  const changes: boolean[] = [];
  const redis = createRedis(url, { deadlineMs: DEADLINE_MS, logger, onChange: (isUp) => void changes.push(isUp) });
  cleanups.push(() => redis.close());
  return { redis, changes };
}

async function connected(url: string): Promise<{ redis: RedisClient; changes: boolean[] }> {
  const made = client(url);
  await eventually(() => expect(made.redis.isUp).toBe(true));
  return made;
}

/** How a command ends, and after how many ms. */
async function outcome(command: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const startedAt = performance.now();
  const error = await command.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { error, ms: performance.now() - startedAt };
}

const writeAndRead = redisScript("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])");

describe('a client of one server', () => {
  it('speaks bytes, and knows a script again after the server forgot it', async () => {
    const { redis } = await connected((await server()).url);
    const bytes = Buffer.from([0, 255, 13, 10, 128]);
    expect(await redis.script(writeAndRead, ['k'], [bytes])).toEqual(bytes);
    await redis.command('SCRIPT', 'FLUSH');
    expect(await redis.script(writeAndRead, ['k'], [bytes])).toEqual(bytes);
    expect(await redis.command('MGET', 'k', 'none')).toEqual([bytes, null]);
    await expect(redis.command('LPUSH', 'k', 1)).rejects.toThrow('WRONGTYPE');
    expect(redis.isUp).toBe(true);
  });

  it('rejects at once while there is no server, and works as soon as there is one', async () => {
    const redisServer = await server();
    await redisServer.kill();
    const { redis, changes } = client(redisServer.url);
    const { error, ms } = await outcome(redis.command('PING'));
    expect(error).toBeInstanceOf(RedisUnavailableError);
    expect(ms).toBeLessThan(20);
    await redisServer.start();
    await eventually(() => expect(redis.isUp).toBe(true));
    await redisServer.kill();
    await eventually(() => expect(redis.isUp).toBe(false));
    expect((await outcome(redis.command('PING'))).ms).toBeLessThan(20);
    expect(changes).toEqual([true, false]);
  });

  it('never waits longer than the deadline for a server that stands still, and soon not at all', async () => {
    const redisServer = await server();
    const { redis } = await connected(redisServer.url);
    redisServer.pause();
    const first = await Promise.all(Array.from({ length: 20 }, () => outcome(redis.command('PING'))));
    for (const { error, ms } of first) {
      expect(error).toBeInstanceOf(DeadlineError);
      expect(ms).toBeGreaterThan(DEADLINE_MS - 5);
      expect(ms).toBeLessThan(DEADLINE_MS + 100);
    }
    expect(redis.isUp).toBe(false);
    const later = await Promise.all(Array.from({ length: 20 }, () => outcome(redis.command('PING'))));
    expect(later.filter(({ error }) => error instanceof RedisUnavailableError).length).toBeGreaterThanOrEqual(19);
    redisServer.resume();
    await eventually(async () => expect((await redis.command('PING')) as Buffer).toEqual(Buffer.from('PONG')));
    expect(redis.isUp).toBe(true);
  });

  it('holds no more commands without an answer than it is allowed', async () => {
    const redisServer = await server();
    const redis = createRedis(redisServer.url, { deadlineMs: DEADLINE_MS, logger, maxInFlight: 3 });
    cleanups.push(() => redis.close());
    await eventually(() => expect(redis.isUp).toBe(true));
    const outcomes = await Promise.all(Array.from({ length: 5 }, () => outcome(redis.command('PING'))));
    expect(outcomes.map(({ error }) => error instanceof RedisUnavailableError)).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
  });

  it('gives the password', async () => {
    const { port } = await server({ requirepass: 's3cret@' });
    const { redis } = await connected(`redis://:s3cret%40@127.0.0.1:${port}`);
    expect(await redis.command('SET', 'a', 1)).toEqual(Buffer.from('OK'));
    const wrong = client(`redis://:wrong@127.0.0.1:${port}`).redis;
    await expect(wrong.command('GET', 'a')).rejects.toBeDefined();
    expect(wrong.isUp).toBe(false);
  });
});

it('a client of a cluster finds the slot of the keys', async () => {
  const { port, url } = await server({ 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1' });
  const { redis: node } = await connected(url);
  await node.command('CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => slot));
  const { redis } = await connected(`redis+cluster://127.0.0.1:${port}`);
  await eventually(async () =>
    expect(await redis.script(writeAndRead, ['{main:0}:k'], ['v'])).toEqual(Buffer.from('v')),
  );
  expect(await redis.command('GET', '{main:0}:k')).toEqual(Buffer.from('v'));
});

it('a client of sentinels follows the master', async () => {
  const master = await server({ 'repl-diskless-sync-delay': '0' });
  const replica = await server();
  const sentinel = await FakeSentinel.start();
  cleanups.push(() => sentinel.stop());
  sentinel.masterPort = master.port;
  const { redis } = await connected(`redis+sentinel://127.0.0.1:${sentinel.port}/shop`);
  const { redis: second } = await connected(replica.url);
  await second.command('REPLICAOF', '127.0.0.1', master.port);
  await eventually(async () => {
    expect(await redis.command('SET', 'a', 1)).toEqual(Buffer.from('OK'));
    expect(await second.command('GET', 'a')).toEqual(Buffer.from('1'));
  });
  await master.kill();
  await second.command('REPLICAOF', 'NO', 'ONE');
  sentinel.masterPort = replica.port;
  await eventually(async () => expect(await redis.command('SET', 'a', 2)).toEqual(Buffer.from('OK')));
  expect(await second.command('GET', 'a')).toEqual(Buffer.from('2'));
});

it('a client whose server has become a replica looks for the master again', async () => {
  const [old, other] = [await server(), await server({ 'repl-diskless-sync-delay': '0' })];
  const sentinel = await FakeSentinel.start();
  cleanups.push(() => sentinel.stop());
  sentinel.masterPort = old.port;
  const { redis } = await connected(`redis+sentinel://127.0.0.1:${sentinel.port}/shop`);
  const { redis: direct } = await connected(old.url);
  await direct.command('REPLICAOF', '127.0.0.1', other.port);
  sentinel.masterPort = other.port;
  await eventually(async () => expect(await redis.command('SET', 'a', 3)).toEqual(Buffer.from('OK')));
  const { redis: newMaster } = await connected(other.url);
  expect(await newMaster.command('GET', 'a')).toEqual(Buffer.from('3'));
});
