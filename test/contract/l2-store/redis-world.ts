import {
  BEGIN_SCRIPT,
  beginCall,
  bucketKeys,
  bucketOf,
  parseHeader,
  parseLogReply,
  type LogHeader,
  type ScriptCall,
} from '@tidemark/proto/redis';
import { createRedis, redisScript, type RedisClient } from '@tidemark/runtime';
import { openFenceLogs } from '../../../invalidator/src/adapters/redis-log.ts';
import { RedisStore } from '../../../sidecar/src/adapters/redis/store.ts';
import { eventually } from '../../integration/support/eventually.ts';
import { startRedis, type RedisFlavour } from '../../kit/index.ts';
import { DEADLINE_MS, logger, order, PACKING, user, type Invalidated, type L2World } from './world.ts';

export const SOURCE = 'main';

/** A user with no more rights than SECURITY.md says that it needs, but for emptying the server; in a cluster it needs `+cluster` besides. */
export const LITTLE_USER = [
  ...['shop', 'on', '>pw', '~tidemark1:*'],
  ...['+@read', '+@write', '+@scripting', '+@connection', '-@dangerous', '+info', '+flushall'],
];
/** The same URL for that user. */
export const forLittleUser = (url: string): string => url.replace('://', '://shop:pw@');

export interface RedisWorld extends L2World {
  readonly client: RedisClient;
  newStore(): RedisStore;
}

/** Stores on a Redis that is there, whose fence logs the world applies to as the invalidator does. */
export async function redisWorld(options: {
  readonly url: string;
  readonly buckets: number;
  readonly pause: () => void;
  readonly resume: () => void;
  /** Empties it: all of its nodes. */
  readonly flush: (client: RedisClient) => Promise<unknown>;
  readonly stop: () => Promise<void>;
}): Promise<RedisWorld> {
  const { url, buckets } = options;
  const client = await connected(url);
  const keys = Array.from({ length: buckets }, (_, i) => bucketKeys(SOURCE, i));
  const logs = openFenceLogs(client, { source: SOURCE, buckets, maxFences: 1000 });
  const placeOf = (key: string) => {
    const bucket = bucketOf(buckets, user.hashHex, key);
    return { bucket, entry: bucketKeys(SOURCE, bucket).entry('g', user.hashHex, key) };
  };
  return {
    client,
    newStore: () =>
      new RedisStore({
        ...{ client, source: SOURCE, buckets, deadlineMs: DEADLINE_MS },
        packing: () => PACKING,
        onLatency: () => undefined,
      }),
    async reset() {
      await options.flush(client);
      for (const of of keys) {
        const position = { epoch: 1, to: 1000, visible: 1000, nextOffset: 0 };
        const pairs = [user.hashHex, order.hashHex];
        await run(client, BEGIN_SCRIPT, beginCall(of, { position, seen: '', generation: 'g', digest: 'd', pairs }));
      }
    },
    async invalidate(to, { keys: names = [], tags = [], all = false }: Invalidated) {
      for (const [bucket, of] of keys.entries()) {
        const header = parseHeader(String(await client.command('GET', of.log))) as LogHeader;
        const here = names.filter((name) => placeOf(name).bucket === bucket);
        const fence = (name: string) => ({ pair: user.hashHex, name, lsn: to });
        const reply = await logs.apply(bucket, {
          ...{ header, position: { epoch: 1, to, visible: to, nextOffset: 1 }, from: header.to, after: '-', part: '-' },
          pairs: [{ pair: user.hashHex, lsn: all ? to : 0 }],
          keyFences: here.map(fence),
          tagFences: tags.map(fence),
        });
        if (reply.status !== 'ok') throw new Error(`the log of bucket ${bucket} answered ${reply.status}`);
      }
    },
    async damage(key, { at, cut }) {
      const { entry } = placeOf(key);
      const bytes = (await client.command('GET', entry)) as Buffer;
      const place = at % bytes.length;
      const changed = Buffer.from(bytes);
      changed[place] = (changed[place] ?? 0) ^ (1 << (at % 8));
      await client.command('SET', entry, cut ? bytes.subarray(0, place) : changed, 'KEEPTTL');
    },
    ttlMs: async (key) => Number(await client.command('PTTL', placeOf(key).entry)),
    pause: options.pause,
    resume: options.resume,
    close: async () => {
      client.close();
      await options.stop();
    },
  };
}

/** The same on a server of its own, which is ended with it. */
export async function ownRedisWorld(options: {
  readonly buckets: number;
  readonly flavour?: RedisFlavour | undefined;
  /** Whether it is used with few rights. */
  readonly isRestricted?: boolean | undefined;
}): Promise<RedisWorld> {
  const { buckets, flavour, isRestricted = false } = options;
  const server = await startRedis({ ...(flavour && { flavour }), settings: { appendonly: 'no' } });
  if (isRestricted) {
    const admin = await connected(server.url);
    await admin.command('ACL', 'SETUSER', ...LITTLE_USER);
    admin.close();
  }
  return redisWorld({
    ...{ url: isRestricted ? forLittleUser(server.url) : server.url, buckets },
    pause: () => server.pause(),
    resume: () => server.resume(),
    flush: (client) => client.command('FLUSHALL'),
    stop: () => server.stop(),
  });
}

async function connected(url: string): Promise<RedisClient> {
  const client = createRedis(url, { deadlineMs: DEADLINE_MS, logger });
  await eventually(() => {
    if (!client.isUp) throw new Error('no connection yet');
  });
  return client;
}

async function run(client: RedisClient, script: string, call: ScriptCall): Promise<void> {
  const { status } = parseLogReply(await client.script(redisScript(script), call.keys, call.args));
  if (status !== 'ok') throw new Error(`the script answered ${status}`);
}
