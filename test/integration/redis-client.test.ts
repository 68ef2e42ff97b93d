import {
  createLogger,
  createRedis,
  redisScript,
  RedisUnavailableError,
  type RedisClient,
  type RedisClientOptions,
} from '@tidemark/runtime';
import { describe, expect, it } from 'vitest';
import { startRedis, startRedisCluster, type RedisOptions, type RedisServer } from '../kit/index.ts';
import { backendClientContract, DEADLINE_MS, PATIENT_MS, useCleanups } from './support/backend-client.ts';
import { eventually } from './support/eventually.ts';
import { FakeSentinel } from './support/fake-sentinel.ts';

const logger = createLogger({ service: 'test', instance: 'redis', level: 'silent' });
const cleanup = useCleanups();

async function server(settings: RedisOptions['settings'] = {}): Promise<RedisServer> {
  const started = await startRedis({ settings });
  cleanup(() => started.stop());
  return started;
}

function client(url: string, more: Partial<RedisClientOptions> = {}): RedisClient {
  const redis = createRedis(url, { deadlineMs: PATIENT_MS, logger, ...more });
  cleanup(() => redis.close());
  return redis;
}

async function connected(url: string): Promise<{ redis: RedisClient }> {
  const redis = client(url);
  await eventually(() => expect(redis.isUp).toBe(true));
  return { redis };
}

const writeAndRead = redisScript("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])");

describe('a client of one server', () => {
  backendClientContract({
    server,
    client: (url, more) => {
      const redis = client(url, more);
      const ask = (): Promise<unknown> => redis.command('PING');
      return {
        ask,
        probe: () => ask().catch(() => undefined),
        get isUp() {
          return redis.isUp;
        },
      };
    },
    unavailable: RedisUnavailableError,
  });

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

  it('holds no more bytes for a server that does not read than it is allowed, and sends again when it does', async () => {
    const tried = await server();
    const redis = client(tried.url);
    await eventually(() => expect(redis.isUp).toBe(true));
    tried.pause();
    const value = Buffer.alloc(8 * 1024 * 1024);
    const outcomes = Array.from({ length: 20 }, (_, i) =>
      redis.command('SET', `k${i}`, value).then(
        () => 'done',
        (error: unknown) => (error instanceof RedisUnavailableError ? 'refused' : error),
      ),
    );
    tried.resume();
    const counts = Map.groupBy(await Promise.all(outcomes), (outcome) => outcome);
    expect([counts.get('done')?.length, counts.get('refused')?.length]).toEqual([8, 12]);
    expect(await redis.command('SET', 'k', value)).toEqual(Buffer.from('OK'));
  });

  it('does not count for ever what was under way when the connection ended', async () => {
    const { url } = await server();
    const { redis: admin } = await connected(url);
    const redis = client(url, { deadlineMs: DEADLINE_MS, maxInFlight: 3 });
    await eventually(() => expect(redis.isUp).toBe(true));
    for (let i = 0; i < 3; i += 1) await expect(redis.command('BLPOP', 'none', 0)).rejects.toBeDefined();
    await admin.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await eventually(async () => expect(await redis.command('GET', 'none')).toBeNull());
  });

  it('says that the connection ended under a command as it says that there is none', async () => {
    const tried = await server();
    const redis = client(tried.url);
    await eventually(() => expect(redis.isUp).toBe(true));
    tried.pause();
    const sent = redis.command('GET', 'a').catch((error: unknown) => error);
    await tried.kill();
    expect(await sent).toBeInstanceOf(RedisUnavailableError);
  });

  it('reads from a server that takes no writes, which it does not leave for each of them', async () => {
    const [master, replica] = [await server(), await server()];
    const { redis: direct } = await connected(replica.url);
    await direct.command('REPLICAOF', '127.0.0.1', master.port);
    const { redis } = await connected(replica.url);
    // The first one makes it look whether another server is at that address by now.
    await redis.command('SET', 'a', 1).catch(() => undefined);
    await eventually(async () => {
      await expect(redis.command('SET', 'a', 1)).rejects.toThrow('READONLY');
      expect(redis.isUp).toBe(true);
      expect(await redis.command('GET', 'a')).toBeNull();
    });
  });

  it('says what the server refuses, once, and nothing of what was sent', async () => {
    const tried = await server();
    const { redis: admin } = await connected(tried.url);
    await admin.command('ACL', 'SETUSER', 'shop', 'on', '>pw', '~*', '+@all', '-evalsha', '-set');
    const told: { readonly refusal?: string; readonly command?: string }[] = [];
    const warn = (fields: object): void => void told.push(fields);
    const redis = client(`redis://shop:pw@127.0.0.1:${tried.port}`, { logger: { ...logger, warn } as typeof logger });
    await eventually(() => expect(redis.isUp).toBe(true));
    for (let i = 0; i < 3; i += 1) {
      await expect(redis.command('SET', 'a', 'secret')).rejects.toThrow('NOPERM');
      await expect(redis.script(writeAndRead, ['a'], ['secret'])).rejects.toThrow('NOPERM');
      await expect(redis.command('NOSUCH', 'a', 'secret')).rejects.toThrow('ERR');
    }
    expect(told.map(({ command }) => command)).toEqual(['SET', 'EVALSHA', 'NOSUCH']);
    expect(told[0]?.refusal).toMatch(/^NOPERM .*permissions/);
    expect(JSON.stringify(told)).not.toContain('secret');
  });

  it('gives the password', async () => {
    const { port } = await server({ requirepass: 's3cret@' });
    const { redis } = await connected(`redis://:s3cret%40@127.0.0.1:${port}`);
    expect(await redis.command('SET', 'a', 1)).toEqual(Buffer.from('OK'));
    const wrong = client(`redis://:wrong@127.0.0.1:${port}`);
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

it('a client of a cluster outlives a slot on its way to a node that dies', async () => {
  const cluster = await startRedisCluster({ masters: 3, replicas: 0 });
  cleanup(() => cluster.stop());
  const redis = client(cluster.url);
  await eventually(() => expect(redis.isUp).toBe(true));
  const slot = Number(await cluster.nodes[0]?.ask('CLUSTER', 'KEYSLOT', '{main:0}:k'));
  const from = await cluster.masterOf(slot);
  const to = cluster.nodes.find((node) => node !== from) as (typeof cluster.nodes)[number];
  await eventually(async () => expect(await redis.command('SET', '{main:0}:stays', 1)).toEqual(Buffer.from('OK')));
  await to.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
  await from.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
  // What the old one does not have it leaves to the new one.
  await eventually(async () => expect(await redis.command('SET', '{main:0}:k', 1)).toEqual(Buffer.from('OK')));
  to.pause();
  const sent = Array.from({ length: 5 }, () => redis.command('GET', '{main:0}:k').catch((error: unknown) => error));
  // The old one has sent them on by the time it answers this.
  expect(await redis.command('GET', '{main:0}:stays')).toEqual(Buffer.from('1'));
  await to.kill();
  for (const each of sent) expect(await each).toBeInstanceOf(RedisUnavailableError);
  await to.start();
  await eventually(async () => expect(await redis.command('GET', '{main:0}:k')).toEqual(Buffer.from('1')), {
    withinMs: 120_000,
  });
}, 240_000);

it('a client of sentinels follows the master', async () => {
  const master = await server({ 'repl-diskless-sync-delay': '0' });
  const replica = await server();
  const sentinel = await FakeSentinel.start();
  cleanup(() => sentinel.stop());
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
  cleanup(() => sentinel.stop());
  sentinel.masterPort = old.port;
  const { redis } = await connected(`redis+sentinel://127.0.0.1:${sentinel.port}/shop`);
  const { redis: direct } = await connected(old.url);
  await direct.command('REPLICAOF', '127.0.0.1', other.port);
  sentinel.masterPort = other.port;
  await eventually(async () => expect(await redis.command('SET', 'a', 3)).toEqual(Buffer.from('OK')));
  const { redis: newMaster } = await connected(other.url);
  expect(await newMaster.command('GET', 'a')).toEqual(Buffer.from('3'));
});
