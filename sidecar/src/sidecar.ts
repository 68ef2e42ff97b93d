import { ConfigIntake, type ConfigEvents, type SourceOf, type TidemarkConfig } from '@tidemark/proto';
import {
  closeServer,
  ConfigFollower,
  createKafka,
  createLogger,
  formatAddress,
  listen,
  runUntilSignal,
  type ListenAddress,
  type Logger,
} from '@tidemark/runtime';
import type { RequestListener, Server } from 'node:http';
import { KafkaFeed } from './adapters/kafka-feed.ts';
import { systemClock as clock } from './adapters/system.ts';
import {
  adminListener,
  applicationListener,
  configStatusOf,
  createCore,
  createUnconfigured,
  status,
  tick,
  type Core,
  type Pages,
} from './compose.ts';
import { HELP, readConfig, type Config } from './config.ts';
import { beyondMemcached } from './core/backend-limits.ts';
import type { Taken } from './core/configuration.ts';
import { createListener, replaceListener } from './http/server.ts';
import { clearSocketPath, withSocketMode } from './http/unix-socket.ts';
import { dropGarbage } from './memory.ts';
import { Metrics } from './metrics.ts';
import { watchLoads } from './metrics/loads.ts';
import { watchWarm } from './metrics/warm.ts';
import { watchWriteBehind } from './metrics/write-behind.ts';
import { watchWrites } from './metrics/writes.ts';

const MAX_CONNECTIONS = 10_000;
const MAX_ADMIN_CONNECTIONS = 100;
/** Longer than any deadline inside the record reader. */
const FEED_SILENCE_MS = 20_000;
const TICK_MS = 1_000;
const DRAIN_MS = 8_000;
const SHUTDOWN_MS = 10_000;

interface Servers {
  readonly tcp: Server;
  readonly socket: Server;
  readonly admin: Server;
}

async function listenAll(config: Config, { tcp, socket, admin }: Servers): Promise<Record<string, string>> {
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

function configEvents(config: Config, logger: Logger): ConfigEvents<Taken> {
  return {
    taken({ isNew, ...taken }, stamp) {
      const { kept, ...others } = taken;
      if (isNew) logger.info({ ...stamp, ...others, kept: kept.length }, 'the namespaces of a document are served');
      const present = new Set([...kept, ...taken.added, ...taken.changed]);
      const missing = [...(config.namespaces ?? [])].filter((name) => !present.has(name));
      if (missing.length > 0)
        logger.warn({ missing }, 'TIDEMARK_NAMESPACES: names namespaces that the document does not have');
    },
    refused: (why, stamp) => logger.error({ ...stamp, why }, 'a document was refused'),
    differs: (settings, stamp) =>
      logger.error(
        { ...stamp, settings },
        'settings of the source differ from those of the start: restart to take them',
      ),
  };
}

/** What runs once the source is known. */
interface Running {
  readonly core: Core;
  readonly feed: KafkaFeed;
  readonly ticking: NodeJS.Timeout;
}

async function run(config: Config, logger: Logger): Promise<never> {
  const metrics = new Metrics();
  const clientId = `tidemark-sidecar-${config.instance}`;
  const kafka = createKafka({ ...config.kafka, clientId, logger });
  let draining = false;
  let running: Running | undefined;
  const pages: Pages = {
    health: { unready: () => (draining ? 'draining' : undefined), metrics: () => metrics.text() },
    status: () => status(running?.core, configStatusOf(config, intake)),
    logger,
  };
  let listener: RequestListener = applicationListener(createUnconfigured(config), pages);
  const servers: Servers = {
    tcp: createListener(listener, { maxConnections: MAX_CONNECTIONS }),
    socket: createListener(listener, { maxConnections: MAX_CONNECTIONS }),
    admin: createListener(adminListener(pages), { maxConnections: MAX_ADMIN_CONNECTIONS }),
  };
  const begin = (of: SourceOf) => {
    const core = createCore(of, { kafka, config, metrics, logger });
    const feed = new KafkaFeed({
      kafka,
      topic: of.sourceConfig.topic,
      logger,
      fetchIntervalMs: config.fetchIntervalMs,
      silenceMs: FEED_SILENCE_MS,
    });
    metrics.watch({ ...core, state: () => core.replica.state(clock.monotonicMs()), feed, l2: core.l2?.store });
    watchWriteBehind(metrics.registry, core.behind, clock);
    watchLoads(metrics.registry, core);
    watchWrites(metrics.registry, core);
    watchWarm(metrics.registry, core);
    feed.start(core.follower);
    running = { core, feed, ticking: setInterval(() => tick(core), TICK_MS) };
    const next = applicationListener(core, pages);
    for (const server of [servers.tcp, servers.socket]) replaceListener(server, listener, next);
    listener = next;
    return {
      take(document: TidemarkConfig) {
        const taken = core.configuration.take(document);
        core.behind.taken(taken);
        return taken;
      },
    };
  };
  const source = config.origin.source;
  const intake: ConfigIntake<Taken> = new ConfigIntake({ source, begin, events: configEvents(config, logger) });
  const follower = followConfig(config, { kafka, intake, logger, metrics });
  metrics.watchConfig(intake, () => follower?.ignored ?? 0);

  dropGarbage();
  logger.info(await listenAll(config, servers), 'listening');
  return runUntilSignal({
    logger,
    deadlineMs: SHUTDOWN_MS,
    ...(follower && { failed: follower.failed }),
    steps: [
      { name: 'readiness', run: () => void (draining = true) },
      { name: 'configuration', run: () => follower?.stop() },
      // Before the applications, who may take their time: what is warmed from now on is for nobody.
      { name: 'warming', run: () => running?.core.stopWarming() },
      {
        name: 'applications',
        run: async () =>
          void (await Promise.all([closeServer(servers.tcp, DRAIN_MS), closeServer(servers.socket, DRAIN_MS)])),
      },
      { name: 'writes', run: () => running?.core.behind.stop() },
      { name: 'written through', run: () => running?.core.through.stop() },
      { name: 'loads', run: () => running?.core.loading.stop() },
      { name: 'feed', run: () => running?.feed.stop() },
      { name: 'timers', run: () => clearInterval(running?.ticking) },
      { name: 'hot keys', run: () => running?.core.warmTriggers.tell() },
      { name: 'L2', run: () => running?.core.l2?.close() },
      { name: 'probes', run: () => closeServer(servers.admin, 0) },
    ],
  });
}

interface FollowedConfig {
  /** Records that were older, or that nobody understood. */
  readonly ignored: number;
  /** Rejects when a document could not be taken for a fault of our own: what is served then is not known. */
  readonly failed: Promise<never>;
  stop(): Promise<void>;
}

/** Offers the document of the file once, or those of the topic for as long as the process lives. */
function followConfig(
  config: Config,
  options: { kafka: ReturnType<typeof createKafka>; intake: ConfigIntake<Taken>; logger: Logger; metrics: Metrics },
): FollowedConfig | undefined {
  const { origin } = config;
  const { kafka, intake, logger } = options;
  if (origin.kind === 'file') {
    intake.offer({ config: origin.document, source: origin.source, term: 0, revision: 0 });
    return undefined;
  }
  logger.info({ topic: origin.topic }, 'waiting for a document: until then every read is a miss');
  let ignored = 0;
  const follower = new ConfigFollower({
    kafka,
    topic: origin.topic,
    logger,
    onDocument: (record) => {
      const issues = config.memcachedUrl === undefined ? [] : beyondMemcached(record.config, record.source);
      if (issues.length > 0)
        logger.error({ issues }, 'the document asks for what memcached cannot do; the rest is served');
      intake.offer(record);
    },
    onIgnored: () => void (ignored += 1),
  });
  // It resolves only when it was stopped.
  const failed = follower.finished as Promise<never>;
  return {
    get ignored() {
      return ignored;
    },
    failed,
    stop: () => follower.stop(),
  };
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
