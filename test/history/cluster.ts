import {
  freePort,
  type KafkaServer,
  type Link,
  type Links,
  type PostgresPair,
  type ProcessEvent,
  type ProcessHandle,
  type Progress,
  type Stack,
  createStack,
  startKafka,
  startLinks,
  startPostgresPair,
} from '../kit/index.ts';
import { Configuration, type Document } from './configuration.ts';
import { RedisPair } from './redis-pair.ts';
import { initSql } from './world.ts';

export const sidecars = ['sidecar-0', 'sidecar-1', 'sidecar-2'] as const;
/** Processes that can be killed and paused. */
export const processes = ['postgres', 'kafka', 'redis', 'invalidator', 'applier', ...sidecars] as const;
export type ProcessName = (typeof processes)[number];

/** Ways between two processes, as "client-server", each with a proxy of its own. */
export const ways: readonly string[] = [
  'invalidator-postgres',
  'invalidator-kafka',
  'applier-kafka',
  'applier-redis',
  ...sidecars.flatMap((name) => [`${name}-kafka`, `${name}-redis`, `${name}-invalidator`]),
];

const configTopic = 'tidemark.main.config';
/** Of those that read the document where the invalidator publishes it. */
const follows = { TIDEMARK_CONFIG: '', TIDEMARK_CONFIG_TOPIC: configTopic };

/** Everything that runs, and the handles by which a nemesis breaks it. */
export interface Cluster {
  readonly stack: Stack;
  readonly postgres: PostgresPair;
  readonly kafka: KafkaServer;
  readonly redis: RedisPair;
  readonly configuration: Configuration;
  readonly process: (name: ProcessName) => ProcessHandle;
  readonly way: (name: string) => Link;
  stop(): Promise<void>;
}

export interface ClusterOptions {
  readonly config: Document;
  readonly progress: Progress;
  readonly onEvent: (event: ProcessEvent) => void;
  /** Sees each log line of our processes. */
  readonly onLine: (name: string, line: string) => void;
}

/** Starts all of it; what has started is ended again where something does not start. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const begun: { stop(): Promise<void> }[] = [];
  const stop = async (): Promise<void> => {
    for (const part of begun.splice(0).toReversed()) await part.stop();
  };
  const began = <T extends { stop(): Promise<void> }>(part: T): T => {
    begun.push(part);
    return part;
  };
  try {
    return await start(options, began, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  { config, progress, onEvent, onLine }: ClusterOptions,
  began: <T extends { stop(): Promise<void> }>(part: T) => T,
  stop: () => Promise<void>,
): Promise<Cluster> {
  const links = began(await startLinks(progress));
  const waysOf = new Map<string, Link>();
  const open = async (name: string, target: number): Promise<void> => {
    waysOf.set(name, await links.open(name, target));
  };
  const way = (name: string): Link => {
    const link = waysOf.get(name);
    if (link === undefined) throw new Error(`there is no way ${name}`);
    return link;
  };

  const common = { supervise: true, progress, onEvent };
  const kafkaWays = ways.filter((name) => name.endsWith('-kafka'));
  const [postgres, kafka, redis] = await Promise.all([
    startPostgresPair({ ...common, fsync: false }).then(began),
    startKafkaBehind(links, kafkaWays, { ...common, opened: (name, link) => waysOf.set(name, link) }).then(began),
    RedisPair.start(links).then(began),
  ]);
  await open('invalidator-postgres', postgres.port);
  for (const name of ways.filter((each) => each.endsWith('-redis'))) waysOf.set(name, await redis.open(links, name));

  const brokers = (client: string): string => `127.0.0.1:${way(`${client}-kafka`).port}`;
  const redisUrl = (client: string): string => `redis://127.0.0.1:${way(`${client}-redis`).port}`;
  const database = new URL(postgres.url);
  database.port = `${way('invalidator-postgres').port}`;
  const stack = began(
    await createStack(
      { postgres, kafka, redis: redis.primary, stop: async () => undefined },
      {
        config,
        initSql,
        isolated: false,
        sidecars: 0,
        onEvent,
        onLine,
        env: {
          invalidator: {
            TIDEMARK_POSTGRES_URL: database.href,
            TIDEMARK_KAFKA_BROKERS: brokers('invalidator'),
            TIDEMARK_CONFIG_TOPIC: configTopic,
          },
          applier: { ...follows, TIDEMARK_REDIS_URL: redisUrl('applier'), TIDEMARK_KAFKA_BROKERS: brokers('applier') },
          sidecar: follows,
        },
      },
    ),
  );
  const invalidatorPort = Number(new URL(stack.invalidator.url).port);
  for (const name of sidecars) await open(`${name}-invalidator`, invalidatorPort);
  // In turn: their names follow from the order.
  for (const name of sidecars) {
    await stack.addSidecar({
      TIDEMARK_KAFKA_BROKERS: brokers(name),
      TIDEMARK_REDIS_URL: redisUrl(name),
      TIDEMARK_INVALIDATOR_URL: `http://127.0.0.1:${way(`${name}-invalidator`).port}`,
      TIDEMARK_LOAD_URL: stack.postgres,
      TIDEMARK_MAX_STALENESS: '2s',
      // Applications wait a second for an answer.
      TIDEMARK_COALESCE_TIMEOUT: '300ms',
      TIDEMARK_SESSION_TIMEOUT: '500ms',
    });
  }
  const handle = (name: ProcessName): ProcessHandle => {
    if (name === 'postgres') return postgres;
    if (name === 'kafka') return kafka;
    if (name === 'redis') return redis.primary;
    if (name === 'invalidator' || name === 'applier') return stack[name];
    return stack.sidecars[sidecars.indexOf(name)] as ProcessHandle;
  };
  const configuration = new Configuration({ stack, topic: configTopic, document: config });
  return { stack, postgres, kafka, redis, configuration, process: handle, way, stop };
}

/** The broker tells each client to come back to that client's proxy, so the proxies' ports are chosen before it starts. */
async function startKafkaBehind(
  links: Links,
  names: readonly string[],
  { opened, ...options }: Parameters<typeof startKafka>[0] & { opened: (name: string, link: Link) => void },
): Promise<KafkaServer> {
  const made: Link[] = [];
  for (const name of names) {
    // Nobody connects before it is aimed.
    const link = await links.open(name, await freePort());
    opened(name, link);
    made.push(link);
  }
  const kafka = await startKafka({ ...options, proxies: made.map(({ port }) => port) });
  for (const [index, link] of made.entries()) await link.aim(kafka.behindProxies[index] as number);
  return kafka;
}
