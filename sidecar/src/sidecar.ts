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
  type ShutdownStep,
} from '@tidemark/runtime';
import { HttpInvalidatorClient } from './adapters/invalidator-client.ts';
import { KafkaFeed } from './adapters/kafka-feed.ts';
import { LruStore } from './adapters/lru-store.ts';
import { RedisStore } from './adapters/redis-store.ts';
import { systemClock as clock, systemRandom } from './adapters/system.ts';
import { HELP, readConfig, type Config } from './config.ts';
import { BatchReader } from './core/batch-reader.ts';
import { Coalescer } from './core/coalescer.ts';
import { Evictor } from './core/evictor.ts';
import { Filler } from './core/filler.ts';
import { Follower, type FollowerEvents } from './core/follower.ts';
import { L2Lag } from './core/l2-lag.ts';
import { Leases } from './core/leases.ts';
import { Namespace } from './core/namespace.ts';
import { Positions } from './core/positions.ts';
import { Promoter } from './core/promoter.ts';
import { Purger } from './core/purger.ts';
import { Reader } from './core/reader.ts';
import { SourceReplica } from './core/replica.ts';
import { Sessions } from './core/sessions.ts';
import { statusOf, type L2State } from './core/status.ts';
import { Watermark } from './core/watermark.ts';
import { createApp } from './http/app.ts';
import { batchRoute } from './http/batch-route.ts';
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
  positionQuestions: 10_000,
  connections: 10_000,
  adminConnections: 100,
} as const;
/** A purge is written within this time, or a position told; a purge is applied here within the other. */
const INVALIDATOR_TIMEOUT_MS = 5_000;
const PURGE_WAIT_MS = 5_000;
/** Longer than any deadline inside the record reader. */
const FEED_SILENCE_MS = 20_000;
const TICK_MS = 1_000;
const L2_LAG_SAMPLES = 600;
const DRAIN_MS = 8_000;
const SHUTDOWN_MS = 10_000;

type Core = ReturnType<typeof createCore>;

/** Everything that decides, over the adapters that it needs. */
function createCore(config: Config, metrics: Metrics, logger: Logger) {
  const rules = rulesOfSource(config.document, config.source);
  const namespaces = new Map<string, Namespace>();
  for (const [name, namespaceConfig] of Object.entries(config.document.namespaces)) {
    if (namespaceConfig.source !== config.source) continue;
    const l1 = new LruStore({ maxBytes: namespaceConfig.l1.maxBytes });
    namespaces.set(name, new Namespace({ name, config: namespaceConfig, rules: rules.byName.get(name), l1 }));
  }
  const ruled = rules.namespaces.map(({ name }) => namespaces.get(name) as Namespace);
  const { maxStalenessMs, leaseTtlMs, coalesceTimeoutMs: waitMs } = config;
  const random = systemRandom();
  const replica = new SourceReplica({ rules, evict: new Evictor(ruled), maxStalenessMs });
  const leases = new Leases({ ttlMs: leaseTtlMs, most: LIMITS.leases });
  const limits = { waitMs, waiters: LIMITS.waiters, waitersPerKey: LIMITS.waitersPerKey };
  const coalescer = new Coalescer({ namespaces: ruled, replica, leases, clock, random, limits });
  const watermark = new Watermark({ replica, clock, most: LIMITS.watermarkWaits });
  const redis = createStore(config, metrics, logger);
  const l2 = redis?.store;
  const promoter = l2 && new Promoter({ l2, coalescer, replica, clock });
  const reader = new Reader({ replica, coalescer, l2, clock, promoter });
  const filler = new Filler({ replica, leases, coalescer, l2, clock, random });
  const { invalidatorUrl, source, sessionTimeoutMs: timeoutMs } = config;
  const client =
    invalidatorUrl === undefined
      ? undefined
      : new HttpInvalidatorClient({ invalidatorUrl, source, timeoutMs: INVALIDATOR_TIMEOUT_MS });
  const purger = new Purger({ client, watermark, waitMs: PURGE_WAIT_MS });
  const positions = new Positions({ client, most: LIMITS.positionQuestions });
  const sessions = new Sessions({ source, replica, watermark, positions, clock, timeoutMs });
  const batches = new BatchReader({ reader, replica, watermark, positions, clock, timeoutMs });
  const events = followerEvents(replica, metrics, logger);
  const follower = new Follower({ replica, coalescer, watermark, clock, events });
  return {
    namespaces,
    replica,
    leases,
    coalescer,
    redis,
    reader,
    filler,
    purger,
    follower,
    positions,
    sessions,
    batches,
    promoter,
  };
}

function createStore(
  config: Config,
  metrics: Metrics,
  logger: Logger,
): { store: RedisStore; client: RedisClient } | undefined {
  const { redisUrl, redisDeadlineMs: deadlineMs, source, sourceConfig } = config;
  if (redisUrl === undefined) return undefined;
  const client = createRedis(redisUrl, { deadlineMs, logger, tls: config.redisTls });
  const onLatency = (ms: number): void => metrics.observeL2Latency(ms);
  return { client, store: new RedisStore({ client, source, buckets: sourceConfig.l2.buckets, deadlineMs, onLatency }) };
}

function followerEvents(replica: SourceReplica, metrics: Metrics, logger: Logger): FollowerEvents {
  let wasReady = false;
  return {
    state(state, before) {
      const level = state === 'stalled' ? 'warn' : 'info';
      logger[level]({ state, before, applied: replica.applied }, 'the state of the feed changed');
      if (state !== 'live' || wasReady) return;
      wasReady = true;
      logger.info('ready');
    },
    irregular(kind, details) {
      if (kind === 'stale-epoch') logger.debug({ kind, ...details }, 'a record of an older epoch was ignored');
      else if (kind === 'started') logger.info({ kind, ...details }, 'the stream begins here');
      else logger.warn({ kind, ...details }, 'the stream does not continue what was applied: L1 was flushed');
    },
    applied: (lagMs) => metrics.observeEvictLag(lagMs),
  };
}

/** What is done once a second: notice a stall, how far Redis is, and what falls behind there. */
function tick(core: Core, lag: L2Lag): void {
  const { follower, replica, redis, promoter, namespaces } = core;
  follower.checkState();
  void redis?.store.probe().then((header) => {
    const log = typeof header === 'object' ? header : undefined;
    lag.sample({ applied: replica.applied, to: log?.to, atMs: clock.monotonicMs() });
    if (log !== undefined) promoter?.sweep(namespaces.values(), log);
  });
}

function createListeners(options: {
  config: Config;
  core: Core;
  lag: L2Lag;
  metrics: Metrics;
  logger: Logger;
  isDraining: () => boolean;
}) {
  const { config, core, lag, metrics, logger, isDraining } = options;
  const { namespaces, replica, reader, filler, purger, coalescer, follower, redis, sessions, batches } = core;
  const l2 = (): L2State => {
    if (redis === undefined) return { state: 'off', lagMs: null };
    return redis.store.available ? { state: 'up', lagMs: lag.lagMs } : { state: 'down', lagMs: null };
  };
  const pages = {
    health: { unready: () => (isDraining() ? 'draining' : undefined), metrics: () => metrics.text() },
    status: () => statusOf({ version: VERSION, source: config.source, namespaces, replica, follower, l2, clock }),
    openapi,
    logger,
  };
  const cache = cacheRoutes({ namespaces, replica, reader, filler, purger, clock, sessions, coalescer });
  const purge = purgeRoute({ namespaces, purger, sessions });
  const batch = batchRoute({ namespaces, replica, batches, filler, coalescer, sessions, clock });
  const fallback = createApp({ ...pages, cache, purge, batch });
  const listener = hitPath({ namespaces, replica, coalescer, clock, fallback });
  return {
    tcp: createHttpServer(listener, { maxConnections: LIMITS.connections }),
    socket: createHttpServer(listener, { maxConnections: LIMITS.connections }),
    admin: createHttpServer(createApp(pages), { maxConnections: LIMITS.adminConnections }),
  };
}

type Listeners = ReturnType<typeof createListeners>;

async function listenAll(config: Config, { tcp, socket, admin }: Listeners): Promise<Record<string, string>> {
  const bound: Record<string, ListenAddress> = {
    url: await listen(tcp, config.listen),
    admin: await listen(admin, config.adminListen),
  };
  const path = config.socket;
  if (path !== undefined) {
    await clearSocketPath(path);
    bound['socket'] = await withSocketMode(path, config.socketMode, () => listen(socket, { path }));
  }
  return Object.fromEntries(Object.entries(bound).map(([name, address]) => [name, formatAddress(address)]));
}

async function run(config: Config, logger: Logger): Promise<never> {
  const metrics = new Metrics();
  const core = createCore(config, metrics, logger);
  const { replica, follower, redis } = core;
  const clientId = `tidemark-sidecar-${config.instance}`;
  const kafka = createKafka({ ...config.kafka, clientId, logger });
  const feed = new KafkaFeed({ kafka, topic: config.topic, logger, silenceMs: FEED_SILENCE_MS });
  const lag = new L2Lag(L2_LAG_SAMPLES);
  let draining = false;
  const listeners = createListeners({ config, core, lag, metrics, logger, isDraining: () => draining });
  const state = () => replica.state(clock.monotonicMs());
  metrics.watch({ ...core, namespaces: [...core.namespaces.values()], state, feed, redis: redis?.store });

  dropGarbage();
  logger.info(await listenAll(config, listeners), 'listening');
  feed.start(follower);
  const ticking = setInterval(() => tick(core, lag), TICK_MS);

  const steps: ShutdownStep[] = [
    { name: 'readiness', run: () => void (draining = true) },
    {
      name: 'applications',
      run: async () =>
        void (await Promise.all([closeServer(listeners.tcp, DRAIN_MS), closeServer(listeners.socket, DRAIN_MS)])),
    },
    { name: 'feed', run: () => feed.stop() },
    { name: 'timers', run: () => clearInterval(ticking) },
    { name: 'Redis', run: () => redis?.client.close() },
    { name: 'probes', run: () => closeServer(listeners.admin, 0) },
  ];
  return runUntilSignal({ logger, deadlineMs: SHUTDOWN_MS, steps });
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
