import {
  ConfigIntake,
  rulesOfSource,
  type ConfigEvents,
  type SourceOf,
  type Taker,
  type TidemarkConfig,
} from '@tidemark/proto';
import {
  closeServer,
  ConfigFollower,
  createHealthServer,
  createKafka,
  createLogger,
  createRedis,
  formatAddress,
  listen,
  runUntilSignal,
  type Logger,
} from '@tidemark/runtime';
import { KafkaGroup } from './adapters/kafka-group.ts';
import { openFenceLogs } from './adapters/redis-log.ts';
import { ApplyMetrics, type ApplierState } from './apply/metrics.ts';
import { Turns } from './apply/turns.ts';
import { applyConfig } from './config.ts';

const SHUTDOWN_MS = 10_000;
const REPORT_EVERY_MS = 5_000;

/** What a document means to an applier. */
interface Applied {
  readonly isNew: boolean;
}

/** What works once the source is known. */
interface Working {
  readonly turns: Turns;
  readonly group: KafkaGroup;
}

/** `apply`: keeps the fence logs in Redis up with Kafka until a signal, if the group chooses this process. */
export async function apply(configFile: string | undefined): Promise<void> {
  const config = applyConfig(process.env, configFile);
  const { origin } = config;
  const logger = createLogger({ service: 'applier', instance: config.instance, level: config.logLevel });
  const metrics = new ApplyMetrics();
  let state: ApplierState = 'starting';
  let everReady = false;
  const setState = (next: ApplierState): void => {
    if (next === state || state === 'stopping') return;
    state = next;
    metrics.setState(next);
    if (everReady || (next !== 'applying' && next !== 'standby')) return;
    everReady = true;
    logger.info({ role: next }, 'ready');
  };
  const server = createHealthServer({
    // Without a document there is nothing to do: a replica that works should not be replaced by one that has none.
    unready: () => (state === 'applying' || state === 'standby' ? undefined : state),
    metrics: () => metrics.render(),
  });
  logger.info({ http: formatAddress(await listen(server, config.listen)) }, 'listening');

  const kafka = createKafka({ ...config.kafka, clientId: `tidemark-applier-${config.instance}`, logger });
  const redis = createRedis(config.redisUrl, {
    deadlineMs: config.redisDeadlineMs,
    logger,
    tls: config.redisTls,
  });
  let working: Working | undefined;
  const begin = ({ source, sourceConfig, document: first }: SourceOf): Taker<Applied> => {
    const { topic, l2 } = sourceConfig;
    const logs = openFenceLogs(redis, { source, ...l2 });
    const turns = new Turns({ source, topic, maxFences: l2.maxFences, kafka, logs, logger, metrics, setState }, first);
    const group = new KafkaGroup({
      kafka,
      topic,
      group: config.group ?? `tidemark-applier-${source}`,
      logger,
      onChange: (isChosen) => turns.set(isChosen),
    });
    working = { turns, group };
    return takerOf(turns, { source, first });
  };
  const events = configEvents(logger, metrics);
  const intake = new ConfigIntake<Applied>({ source: origin.source, begin, events });
  let follower: ConfigFollower | undefined;
  if (origin.kind === 'file') intake.offer({ config: origin.document, source: origin.source, term: 0, revision: 0 });
  else {
    setState('waiting');
    follower = new ConfigFollower({
      kafka,
      topic: origin.topic,
      logger,
      onDocument: (record) => intake.offer(record),
      onIgnored: () => metrics.config('ignored'),
    });
  }
  const report = setInterval(() => {
    const offset = working?.turns.reachedOffset;
    if (offset !== undefined) void working?.group.report(offset);
  }, REPORT_EVERY_MS);

  await runUntilSignal({
    logger,
    deadlineMs: SHUTDOWN_MS,
    // It resolves only when it was stopped.
    ...(follower && { failed: follower.finished as Promise<never> }),
    steps: [
      { name: 'configuration', run: () => follower?.stop() },
      { name: 'session', run: () => working?.turns.stop() },
      {
        name: 'group',
        run: () => {
          clearInterval(report);
          return working?.group.stop();
        },
      },
      { name: 'redis', run: () => redis.close() },
      { name: 'http', run: () => closeServer(server, 1000) },
    ],
  });
}

/** Begins another session only where other invalidations would be applied: each one costs the new namespaces their L2 for a moment. */
function takerOf(turns: Turns, { source, first }: { source: string; first: TidemarkConfig }): Taker<Applied> {
  let before: string | undefined;
  return {
    take(document) {
      const now = appliedBy(document, source);
      const isNew = now !== before;
      // The first session begins with the first document.
      if (isNew && document !== first) turns.reconfigure(document);
      before = now;
      return { isNew };
    },
  };
}

/** Rules of the namespaces that have an L2, as a text to compare. */
function appliedBy(document: TidemarkConfig, source: string): string {
  return rulesOfSource(document, source)
    .namespaces.filter(({ name }) => document.namespaces[name]?.l2.enabled === true)
    .map(({ hashHex }) => hashHex)
    .join(' ');
}

function configEvents(logger: Logger, metrics: ApplyMetrics): ConfigEvents<Applied> {
  return {
    taken({ isNew }, stamp) {
      metrics.config(isNew ? 'applied' : 'unchanged', stamp);
      if (isNew) logger.info({ ...stamp }, 'the namespaces of a document are applied');
    },
    refused(why, stamp) {
      metrics.config('refused');
      logger.error({ ...stamp, why }, 'a document was refused');
    },
    differs(settings, stamp) {
      metrics.config('refused');
      logger.error(
        { ...stamp, settings },
        'settings of the source differ from those of the start: restart to take them',
      );
    },
  };
}
