import type { Server } from 'node:http';
import { rulesOfSource } from '@tidemark/proto';
import {
  closeServer,
  createKafka,
  createLogger,
  createRedis,
  formatAddress,
  listen,
  runUntilSignal,
  type ListenAddress,
  type Logger,
  type RedisClient,
} from '@tidemark/runtime';
import { KafkaFeed } from './adapters/kafka-feed.ts';
import { LruStore } from './adapters/lru-store.ts';
import { HttpPurgeClient } from './adapters/purge-client.ts';
import { RedisStore } from './adapters/redis-store.ts';
import { systemClock, systemRandom } from './adapters/system.ts';
import { HELP, kafkaOptionsOf, readConfig, type Config } from './config.ts';
import { Coalescer } from './core/coalescer.ts';
import { Evictor } from './core/evictor.ts';
import { Filler } from './core/filler.ts';
import { Follower } from './core/follower.ts';
import { L2Lag } from './core/l2-lag.ts';
import { Leases } from './core/leases.ts';
import { Namespace } from './core/namespace.ts';
import { Purger } from './core/purger.ts';
import { Reader } from './core/reader.ts';
import { SourceReplica } from './core/replica.ts';
import { statusOf, type L2State } from './core/status.ts';
import { Watermark } from './core/watermark.ts';
import { createApp } from './http/app.ts';
import { cacheRoutes } from './http/cache-routes.ts';
import { hitPath } from './http/hit-path.ts';
import { openapi } from './http/openapi.ts';
import { purgeRoute } from './http/purge-route.ts';
import { createHttpServer } from './http/server.ts';
import { clearSocketPath, withSocketMode } from './http/unix-socket.ts';
import { dropGarbage } from './memory.ts';
import { Metrics } from './metrics.ts';

const VERSION = '0.1.0';
const LIMITS = {
  leases: 65_536,
  waiters: 10_000,
  waitersPerKey: 1_000,
  watermarkWaits: 1_000,
  connections: 10_000,
  adminConnections: 100,
} as const;
/** A purge is written within this time, and applied here within the other; http-api promises an answer in seconds. */
const PURGE_TIMEOUT_MS = 5_000;
const PURGE_WAIT_MS = 5_000;
/** Longer than any deadline inside the record reader. */
const FEED_SILENCE_MS = 20_000;
const TICK_MS = 1_000;
const L2_LAG_SAMPLES = 600;
const DRAIN_MS = 8_000;
const SHUTDOWN_MS = 10_000;

/** Namespaces of this process' source, and among them those with rules at their index. */
function createNamespaces(config: Config): { all: Map<string, Namespace>; ruled: Namespace[] } {
  const rules = rulesOfSource(config.document, config.source);
  const all = new Map<string, Namespace>();
  for (const [name, namespaceConfig] of Object.entries(config.document.namespaces)) {
    if (namespaceConfig.source !== config.source) continue;
    const l1 = new LruStore({ maxBytes: namespaceConfig.l1.maxBytes });
    all.set(name, new Namespace({ name, config: namespaceConfig, rules: rules.byName.get(name), l1 }));
  }
  return { all, ruled: rules.namespaces.map(({ name }) => all.get(name) as Namespace) };
}

async function listenAll(
  config: Config,
  servers: { app: Server; socket: Server; admin: Server },
): Promise<Record<string, string>> {
  const url = await listen(servers.app, config.listen);
  const admin = await listen(servers.admin, config.adminListen);
  const bound: Record<string, ListenAddress> = { url, admin };
  const path = config.socket;
  if (path !== undefined) {
    await clearSocketPath(path);
    bound['socket'] = await withSocketMode(path, config.socketMode, () => listen(servers.socket, { path }));
  }
  return Object.fromEntries(Object.entries(bound).map(([name, address]) => [name, formatAddress(address)]));
}

async function run(config: Config, logger: Logger): Promise<never> {
  const clock = systemClock;
  const random = systemRandom();
  const metrics = new Metrics();
  const namespaces = createNamespaces(config);
  const replica = new SourceReplica({
    rules: rulesOfSource(config.document, config.source),
    evict: new Evictor(namespaces.ruled),
    maxStalenessMs: config.maxStalenessMs,
  });
  const leases = new Leases({ ttlMs: config.leaseTtlMs, most: LIMITS.leases });
  const coalescer = new Coalescer({
    namespaces: namespaces.ruled,
    replica,
    leases,
    clock,
    random,
    limits: { waitMs: config.coalesceTimeoutMs, waiters: LIMITS.waiters, waitersPerKey: LIMITS.waitersPerKey },
  });
  const watermark = new Watermark({ replica, clock, most: LIMITS.watermarkWaits });
  const redis = createStore(config, logger, (ms) => metrics.observeL2Latency(ms));
  const l2 = redis?.store;
  const reader = new Reader({ replica, coalescer, l2, clock });
  const filler = new Filler({ replica, leases, coalescer, l2, clock, random });
  const client =
    config.invalidatorUrl === undefined
      ? undefined
      : new HttpPurgeClient({ invalidatorUrl: config.invalidatorUrl, timeoutMs: PURGE_TIMEOUT_MS });
  const purger = new Purger({ client, watermark, waitMs: PURGE_WAIT_MS });

  let wasReady = false;
  let isDraining = false;
  const follower = new Follower({
    replica,
    coalescer,
    watermark,
    clock,
    events: {
      state(state, before) {
        logger[state === 'stalled' ? 'warn' : 'info'](
          { state, before, applied: replica.applied },
          'the state of the feed changed',
        );
        if (state === 'live' && !wasReady) {
          wasReady = true;
          logger.info('ready');
        }
      },
      irregular(kind, details) {
        if (kind === 'stale-epoch') logger.debug({ kind, ...details }, 'a record of an older epoch was ignored');
        else
          logger[kind === 'started' ? 'info' : 'warn'](
            { kind, ...details },
            'the stream does not continue what was applied: L1 was flushed',
          );
      },
      applied: (lagMs) => metrics.observeEvictLag(lagMs),
    },
  });
  const kafka = createKafka({ ...kafkaOptionsOf(config), clientId: `tidemark-sidecar-${config.instance}`, logger });
  const feed = new KafkaFeed({ kafka, topic: config.sourceConfig.topic, logger, silenceMs: FEED_SILENCE_MS });
  const lag = new L2Lag(L2_LAG_SAMPLES);
  const l2State = (): L2State =>
    l2 === undefined
      ? { state: 'off', lagMs: null }
      : { state: l2.available ? 'up' : 'down', lagMs: l2.available ? lag.lagMs : null };

  const status = () =>
    statusOf({
      version: VERSION,
      source: config.source,
      namespaces: namespaces.all,
      replica,
      follower,
      l2: l2State,
      clock,
    });
  const health = { unready: () => (isDraining ? 'draining' : undefined), metrics: () => metrics.text() };
  const routes = {
    cache: cacheRoutes({ namespaces: namespaces.all, replica, reader, filler, purger, clock }),
    purge: purgeRoute({ namespaces: namespaces.all, purger }),
  };
  const app = createApp({ health, status, openapi, logger, ...routes });
  const listener = hitPath({ namespaces: namespaces.all, replica, coalescer, clock, fallback: app });
  const servers = {
    app: createHttpServer(listener, { maxConnections: LIMITS.connections }),
    socket: createHttpServer(listener, { maxConnections: LIMITS.connections }),
    admin: createHttpServer(createApp({ health, status, openapi, logger }), {
      maxConnections: LIMITS.adminConnections,
    }),
  };
  metrics.watch({
    namespaces: [...namespaces.all.values()],
    replica,
    state: () => replica.state(clock.monotonicMs()),
    follower,
    feed,
    coalescer,
    leases,
    reader,
    redis: l2,
  });

  dropGarbage();
  const bound = await listenAll(config, servers);
  logger.info(bound, 'listening');
  feed.start(follower);
  const tick = setInterval(() => {
    follower.checkState();
    void l2?.probe().then((header) => {
      lag.sample({
        applied: replica.applied,
        to: typeof header === 'object' ? header.to : undefined,
        atMs: clock.monotonicMs(),
      });
    });
  }, TICK_MS);

  return runUntilSignal({
    logger,
    deadlineMs: SHUTDOWN_MS,
    steps: [
      { name: 'readiness', run: () => void (isDraining = true) },
      {
        name: 'applications',
        run: async () =>
          void (await Promise.all([closeServer(servers.app, DRAIN_MS), closeServer(servers.socket, DRAIN_MS)])),
      },
      { name: 'feed', run: () => feed.stop() },
      {
        name: 'rest',
        run: async () => {
          clearInterval(tick);
          redis?.client.close();
          await closeServer(servers.admin, 0);
        },
      },
    ],
  });
}

function createStore(
  config: Config,
  logger: Logger,
  onLatency: (ms: number) => void,
): { store: RedisStore; client: RedisClient } | undefined {
  if (config.redisUrl === undefined) return undefined;
  const client = createRedis(config.redisUrl, { deadlineMs: config.redisDeadlineMs, logger });
  const { buckets } = config.sourceConfig.l2;
  const store = new RedisStore({
    client,
    source: config.source,
    buckets,
    deadlineMs: config.redisDeadlineMs,
    onLatency,
  });
  return { store, client };
}

function readConfigOrExit(): Config {
  try {
    const config = readConfig(process.argv.slice(2), process.env);
    if (config !== undefined) return config;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(2);
  }
  process.stdout.write(HELP);
  process.exit(0);
}

/** The process: reads its settings, serves until it is told to stop, and ends with the exit code that fits. */
export async function main(): Promise<never> {
  const config = readConfigOrExit();
  const logger = createLogger({ service: 'sidecar', instance: config.instance, level: config.logLevel });
  try {
    return await run(config, logger);
  } catch (error) {
    logger.fatal({ err: error }, 'the sidecar cannot start');
    process.exit(1);
  }
}
