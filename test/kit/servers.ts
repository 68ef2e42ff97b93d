import { attached, notOurs } from './attached.ts';
import { KitError, type Progress, silent } from './error.ts';
import { type KafkaOptions, type KafkaServer, startKafka } from './kafka.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { withKafkaAdmin, withPostgres, withRedis } from './names.ts';
import { type PostgresOptions, type PostgresServer, startPostgres } from './postgres.ts';
import { type RedisOptions, type RedisServer, startRedis } from './redis.ts';

/** The three servers that a Tidemark needs, ours or somebody else's. */
export interface Servers {
  readonly postgres: ProcessHandle & Pick<PostgresServer, 'url'>;
  readonly kafka: ProcessHandle & Pick<KafkaServer, 'brokers'>;
  readonly redis: ProcessHandle & Pick<RedisServer, 'url' | 'snapshot' | 'restore'>;
  /** Ends those of them that are ours. */
  stop(): Promise<void>;
}

/** Where the servers are: all that another process needs to use them (`attachServers`). */
export interface ServerAddresses {
  readonly postgres: string;
  readonly kafka: readonly string[];
  readonly redis: string;
}

export interface ServersOptions {
  readonly supervise?: boolean;
  readonly progress?: Progress;
  readonly onEvent?: (event: ProcessEvent) => void;
  readonly postgres?: PostgresOptions;
  readonly kafka?: KafkaOptions;
  readonly redis?: RedisOptions;
  /** Servers to use instead of starting them; what is not named here is taken from TIDEMARK_TEST_*, else started. */
  readonly use?: Partial<ServerAddresses>;
  /** Servers that run already, such as a pair of `startPostgresPair`; they are used, and ended with the others. */
  readonly started?: Partial<Omit<Servers, 'stop'>>;
}

/** The servers that the environment names: TIDEMARK_TEST_POSTGRES_URL, _KAFKA_BROKERS and _REDIS_URL. */
function namedInEnvironment(): Partial<ServerAddresses> {
  const named = (name: string): string | undefined => process.env[name] || undefined;
  const postgres = named('TIDEMARK_TEST_POSTGRES_URL');
  const kafka = named('TIDEMARK_TEST_KAFKA_BROKERS')?.split(',');
  const redis = named('TIDEMARK_TEST_REDIS_URL');
  return { ...(postgres && { postgres }), ...(kafka && { kafka }), ...(redis && { redis }) };
}

/** Starts Postgres, Kafka and Redis at once (or attaches to those that are named); settles when all three are ready. */
export async function startServers(options: ServersOptions = {}): Promise<Servers> {
  const { supervise = false, progress = silent, onEvent } = options;
  const use = { ...namedInEnvironment(), ...options.use };
  const common = { supervise, progress, ...(onEvent && { onEvent }) };
  const given = options.started ?? {};
  const started = await Promise.allSettled([
    given.postgres ??
      (use.postgres === undefined ? startPostgres({ ...common, ...options.postgres }) : reachedPostgres(use.postgres)),
    given.kafka ?? (use.kafka === undefined ? startKafka({ ...common, ...options.kafka }) : reachedKafka(use.kafka)),
    given.redis ?? (use.redis === undefined ? startRedis({ ...common, ...options.redis }) : reachedRedis(use.redis)),
  ]);
  const stopAll = async (): Promise<void> => {
    const running = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    await Promise.all(running.map((server) => server.stop()));
  };
  const [postgres, kafka, redis] = started;
  if (postgres.status === 'rejected' || kafka.status === 'rejected' || redis.status === 'rejected') {
    await stopAll();
    const reasons = started.flatMap((result) =>
      result.status === 'rejected' ? [(result.reason as Error).message] : [],
    );
    throw new KitError([...new Set(reasons)].join('\n'));
  }
  return { postgres: postgres.value, kafka: kafka.value, redis: redis.value, stop: stopAll };
}

// A server that was named is looked at before anything waits for it.

async function reachedPostgres(url: string): Promise<Servers['postgres']> {
  await withPostgres(url, async () => undefined);
  return attached('postgres', { url });
}

async function reachedKafka(brokers: readonly string[]): Promise<Servers['kafka']> {
  await withKafkaAdmin(brokers, async () => undefined);
  return attached('kafka', { brokers });
}

async function reachedRedis(url: string): Promise<Servers['redis']> {
  await withRedis(url, async () => undefined);
  return attachedRedis(url);
}

function attachedRedis(url: string): Servers['redis'] {
  const refuse = (): Promise<never> => Promise.reject(notOurs('redis'));
  return attached('redis', { url, snapshot: refuse, restore: refuse });
}

/** Uses servers that another process has started (a vitest worker uses those of the run). */
export function attachServers(addresses: ServerAddresses): Servers {
  return {
    postgres: attached('postgres', { url: addresses.postgres }),
    kafka: attached('kafka', { brokers: addresses.kafka }),
    redis: attachedRedis(addresses.redis),
    stop: async () => undefined,
  };
}

export function addressesOf(servers: Servers): ServerAddresses {
  return { postgres: servers.postgres.url, kafka: servers.kafka.brokers, redis: servers.redis.url };
}
