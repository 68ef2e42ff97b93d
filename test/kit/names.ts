import { randomBytes, randomInt } from 'node:crypto';
import { Redis } from 'ioredis';
import type { Admin, ITopicConfig } from 'kafkajs';
import { createKafka, createLogger, isMissingTopic } from '@tidemark/runtime';
import pg from 'pg';
import { setTimeout as wait } from 'node:timers/promises';
import { KitError } from './error.ts';
import type { Servers } from './servers.ts';

// What keeps stacks apart that share servers: a database, a topic, a slot and a Redis database of their own.

/** Says which server it was: an address that somebody named may be wrong. */
async function reached<T>(what: string, address: string, connecting: Promise<T>): Promise<T> {
  try {
    return await connecting;
  } catch (error) {
    throw new KitError(`${what} at ${address} cannot be used: ${(error as Error).message || (error as Error).name}.`);
  }
}

/** The part of a URL that may be shown. */
function hostOf(url: string): string {
  return new URL(url).host;
}

/** A short word that no other stack has; fit for a database, a slot, a topic and a group. */
export function uniqueWord(): string {
  return `t${Date.now().toString(36)}${randomBytes(3).toString('hex')}`;
}

export async function withPostgres<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined); // a lost connection fails the query that is under way
  await reached('Postgres', hostOf(url), client.connect());
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Makes a database; answers its URL. */
export async function createDatabase(servers: Servers, name: string): Promise<string> {
  await withPostgres(servers.postgres.url, (client) => client.query(`create database ${name}`));
  const url = new URL(servers.postgres.url);
  url.pathname = `/${name}`;
  return url.href;
}

/** Drops a database with its slots, which belong to the server and would keep its WAL for ever. */
export async function dropDatabase(servers: Servers, name: string): Promise<void> {
  await withPostgres(servers.postgres.url, async (client) => {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const { rows } = await client.query<{ slot_name: string; active_pid: number | null }>(
        'select slot_name, active_pid from pg_replication_slots where database = $1',
        [name],
      );
      if (rows.length === 0) break;
      if (Date.now() > deadline)
        throw new KitError(`the replication slots ${rows.map((row) => row.slot_name).join(', ')} stay in use.`);
      for (const { slot_name: slot, active_pid: user } of rows) {
        if (user === null) await client.query('select pg_drop_replication_slot($1)', [slot]).catch(() => undefined);
        else await client.query('select pg_terminate_backend($1)', [user]);
      }
      await wait(20);
    }
    await client.query(`drop database if exists ${name} with (force)`);
  });
}

const logger = createLogger({ service: 'kit', instance: 'kit', level: 'silent' });

export async function withKafkaAdmin<T>(brokers: readonly string[], work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = createKafka({ brokers, tls: false, clientId: 'tidemark-kit', logger }).admin();
  await reached('Kafka', brokers.join(','), admin.connect());
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

const topicTimeoutMs = 60_000;

/** Makes a topic of one partition, unless it is there. */
export async function createTopic(
  servers: Pick<Servers, 'kafka'>,
  topic: string,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
  const wanted: ITopicConfig = { topic, numPartitions: 1, replicationFactor: 1, configEntries };
  await withKafkaAdmin(servers.kafka.brokers, async (admin) => {
    await admin.createTopics({ topics: [wanted], waitForLeaders: false });
    // kafkajs gives up waiting for leaders when the broker has not heard of the new topic yet.
    const deadline = Date.now() + topicTimeoutMs;
    for (;;) {
      try {
        await admin.fetchTopicOffsets(topic);
        return;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await wait(20);
      }
    }
  });
}

/** Deletes a topic; where there is none (any more), that is well. */
export async function deleteTopic(servers: Pick<Servers, 'kafka'>, topic: string): Promise<void> {
  await withKafkaAdmin(servers.kafka.brokers, (admin) => admin.deleteTopics({ topics: [topic] })).catch((error) => {
    if (!isMissingTopic(error)) throw error;
  });
}

// The claim stands in database 0, so that a test may flush its own; it runs out where nobody gave it back.
const claimScript = `
redis.call('select', ARGV[1])
if redis.call('dbsize') > 0 then return 0 end
redis.call('select', 0)
return redis.call('set', KEYS[1], 'yes', 'NX', 'EX', 3600) and 1 or 0`;

function claimKey(number: number | string): string {
  return `tidemark-kit:claimed:${number}`;
}

export async function withRedis<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { maxRetriesPerRequest: 1 });
  redis.on('error', () => undefined); // commands fail by themselves
  try {
    await reached('Redis', hostOf(url), redis.ping());
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}

/** Finds an empty logical database of a Redis and takes it; answers its URL. */
export async function claimRedisDatabase(servers: Servers): Promise<string> {
  return withRedis(servers.redis.url, async (redis) => {
    const [, databases] = (await redis.config('GET', 'databases')) as [string, string];
    for (let attempt = 0; attempt < 200; attempt += 1) {
      const number = randomInt(1, Number(databases));
      if ((await redis.eval(claimScript, 1, claimKey(number), number)) !== 1) continue;
      const url = new URL(servers.redis.url);
      url.pathname = `/${number}`;
      return url.href;
    }
    throw new KitError(`none of the ${databases} databases of the Redis at ${servers.redis.url} is empty.`);
  });
}

/** Empties a claimed database and gives it back. */
export async function returnRedisDatabase(url: string): Promise<void> {
  const number = new URL(url).pathname.slice(1);
  await withRedis(url, (redis) => redis.multi().flushdb().select(0).del(claimKey(number)).exec());
}
