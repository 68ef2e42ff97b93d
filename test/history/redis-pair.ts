import { Redis } from 'ioredis';
import { type Link, type Links, type RedisServer, type RedisSnapshot, startRedis } from '../kit/index.ts';
import { until } from './until.ts';

/** Runs commands on a Redis. */
export async function onRedis<T>(port: number, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: 3 });
  redis.on('error', () => undefined); // commands fail by themselves
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}

/** A field of INFO replication. */
async function replication(port: number, field: string): Promise<string> {
  const info = await onRedis(port, (redis) => redis.info('replication'));
  return new RegExp(`^${field}:(.*?)\r?$`, 'm').exec(info)?.[1] ?? '';
}

/** A primary with a replica, which can take its place. Replication is asynchronous, as Redis has it: what did not arrive is lost. */
export class RedisPair {
  readonly #link: Link;
  /** The ways of clients to whoever is the primary. */
  readonly #clients: Link[] = [];
  #primary: RedisServer;
  #replica: RedisServer;

  private constructor(servers: { primary: RedisServer; replica: RedisServer; link: Link }) {
    this.#primary = servers.primary;
    this.#replica = servers.replica;
    this.#link = servers.link;
  }

  static async start(links: Links): Promise<RedisPair> {
    const [primary, replica] = await Promise.all([startRedis({ supervise: true }), startRedis({ supervise: true })]);
    const pair = new RedisPair({ primary, replica, link: await links.open('replica-redis', primary.port) });
    await pair.#follow();
    return pair;
  }

  get primary(): RedisServer {
    return this.#primary;
  }

  /** A way of a client to the primary, whoever it is. */
  async open(links: Links, name: string): Promise<Link> {
    const link = await links.open(name, this.#primary.port);
    this.#clients.push(link);
    return link;
  }

  /** Nothing more reaches the replica; settles once it lacks so many bytes of what the primary has done. */
  async fallBehind(bytes: number): Promise<void> {
    await this.#inSync(); // else it could not be told how far behind it is
    await this.#link.trouble({ kind: 'silent', toward: 'both' });
    const had = Number(await replication(this.#replica.port, 'slave_repl_offset'));
    await until('the replica lacks something', async () => {
      return Number(await replication(this.#primary.port, 'master_repl_offset')) >= had + bytes;
    });
  }

  /** The replica becomes the primary, and the one before, which must be dead, comes back as its replica. */
  async failOver(): Promise<void> {
    const [old, next] = [this.#primary, this.#replica];
    await onRedis(next.port, (redis) => redis.replicaof('NO', 'ONE'));
    this.#primary = next;
    this.#replica = old;
    for (const client of this.#clients) await client.aim(next.port);
    await old.release();
    await this.#link.heal();
    await this.#link.aim(next.port);
    await this.#follow();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#primary.stop(), this.#replica.stop()]);
  }

  snapshot(): Promise<RedisSnapshot> {
    return this.#primary.snapshot();
  }

  async #follow(): Promise<void> {
    await onRedis(this.#replica.port, (redis) => redis.replicaof('127.0.0.1', this.#link.port));
    await this.#inSync();
  }

  /** Waits until the replica follows this primary in its present life. */
  async #inSync(): Promise<void> {
    await until('the replica follows the primary', async () => {
      const [link, theirs, ours] = await Promise.all([
        replication(this.#replica.port, 'master_link_status'),
        replication(this.#replica.port, 'master_replid'),
        replication(this.#primary.port, 'master_replid'),
      ]);
      return link === 'up' && theirs === ours;
    });
  }
}
