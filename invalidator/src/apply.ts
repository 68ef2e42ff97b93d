import {
  Backoff,
  closeServer,
  createHealthServer,
  createKafka,
  createLogger,
  createRedis,
  formatAddress,
  listen,
  runUntilSignal,
} from '@tidemark/runtime';
import { KafkaGroup } from './adapters/kafka-group.ts';
import { openFenceLogs } from './adapters/redis-log.ts';
import { ApplyMetrics, type ApplierState } from './apply/metrics.ts';
import { ApplySession, type SessionContext } from './apply/session.ts';
import { applyConfig } from './config.ts';

const SHUTDOWN_MS = 10_000;
const REPORT_EVERY_MS = 5_000;

/** `apply`: keeps the fence logs in Redis up with Kafka until a signal, if the group chooses this process. */
export async function apply(configFile: string | undefined): Promise<void> {
  const config = applyConfig(process.env, configFile);
  const { document, source, topic } = config;
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
  const l2 = document.sources[source]?.l2 ?? { buckets: 1, maxFences: 0 };
  const logs = openFenceLogs(redis, { source, ...l2 });
  const turns = new Turns({ document, source, topic, kafka, logs, logger, metrics, setState });
  const group = new KafkaGroup({
    kafka,
    topic,
    group: config.group,
    logger,
    onChange: (isChosen) => turns.set(isChosen),
  });
  const report = setInterval(() => {
    const offset = turns.reachedOffset;
    if (offset !== undefined) void group.report(offset);
  }, REPORT_EVERY_MS);

  await runUntilSignal({
    logger,
    deadlineMs: SHUTDOWN_MS,
    steps: [
      { name: 'session', run: () => turns.stop() },
      {
        name: 'group',
        run: () => {
          clearInterval(report);
          return group.stop();
        },
      },
      { name: 'redis', run: () => redis.close() },
      { name: 'http', run: () => closeServer(server, 1000) },
    ],
  });
}

/** Runs sessions one after the other for as long as this process is the one that is chosen. */
class Turns {
  readonly #context: SessionContext;
  readonly #backoff = new Backoff({ firstMs: 100, maxMs: 5_000 });
  #isChosen: boolean | undefined;
  #isStopped = false;
  #session: ApplySession | undefined;
  #work = Promise.resolve();

  constructor(context: SessionContext) {
    this.#context = context;
  }

  get reachedOffset(): number | undefined {
    return this.#session?.reachedOffset;
  }

  set(isChosen: boolean): void {
    if (this.#isStopped || this.#isChosen === isChosen) return;
    this.#isChosen = isChosen;
    this.#context.logger.info({ isChosen }, isChosen ? 'chosen to apply' : 'another one applies');
    if (isChosen) {
      this.#work = this.#work.then(() => this.#run());
    } else {
      void this.#session?.stop();
      this.#work = this.#work.then(() => this.#context.setState('standby'));
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#isChosen = false;
    await this.#session?.stop();
    await this.#work;
    this.#context.setState('stopping');
  }

  async #run(): Promise<void> {
    while (this.#isChosen === true) {
      const session = new ApplySession(this.#context, () => this.#backoff.reset());
      this.#session = session;
      try {
        await session.run();
      } catch (error) {
        this.#context.logger.error({ err: error }, 'applying failed: beginning again');
        await this.#backoff.pause();
      }
      this.#session = undefined;
    }
  }
}
