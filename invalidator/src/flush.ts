import { ConfigIntake, type TidemarkConfig } from '@tidemark/proto';
import {
  Backoff,
  closeServer,
  ConfigFollower,
  createHealthServer,
  createKafka,
  createLogger,
  formatAddress,
  listen,
  runUntilSignal,
} from '@tidemark/runtime';
import { openFlushDatabase } from './adapters/postgres-flush.ts';
import { runPipelined } from './adapters/postgres-pipeline.ts';
import { ensureWritesTopic } from './adapters/writes-topic.ts';
import { flushConfig } from './config.ts';
import { OperatorError } from './core/errors.ts';
import { WritesLostError } from './flush/bounds.ts';
import { FlushMetrics, type FlusherState } from './flush/metrics.ts';
import { FlushTurn, type TurnContext } from './flush/turn.ts';

const SHUTDOWN_MS = 10_000;
/** A document that comes by a topic is here in milliseconds; one in a file is that of the start. */
const PATIENCE_MS = { topic: 10_000, file: 0 } as const;
const LOST_PAUSE_MS = 10_000;

/** `flush`: brings the writes in Kafka into Postgres until a signal, if this process has the turn. */
export async function flush(configFile: string | undefined): Promise<void> {
  const config = flushConfig(process.env, configFile);
  const { origin, writesTopic: topic } = config;
  const logger = createLogger({ service: 'flusher', instance: config.instance, level: config.logLevel });
  const metrics = new FlushMetrics();
  let state: FlusherState = 'starting';
  let everReady = false;
  const isReady = (): boolean => state === 'flushing' || state === 'standby';
  const setState = (next: FlusherState): void => {
    if (next === state || state === 'stopping') return;
    state = next;
    metrics.setState(next);
    if (everReady || !isReady()) return;
    everReady = true;
    logger.info({ role: next }, 'ready');
  };
  const server = createHealthServer({
    unready: () => (isReady() ? undefined : state),
    ready: () => state,
    metrics: () => metrics.render(),
  });
  logger.info({ http: formatAddress(await listen(server, config.listen)) }, 'listening');

  const kafka = createKafka({ ...config.kafka, clientId: `tidemark-flusher-${config.instance}`, logger });
  const stop = new AbortController();
  let document: TidemarkConfig | undefined;
  let turn: FlushTurn | undefined;
  let working: Promise<void> | undefined;
  const begin = (source: string, first: TidemarkConfig): void => {
    const context: TurnContext = {
      source,
      topic,
      kafka,
      logger,
      metrics,
      setState,
      document: () => document ?? first,
      open: () =>
        openFlushDatabase({
          connection: {
            connectionString: config.postgresUrl,
            application_name: `tidemark flusher ${config.instance}`.slice(0, 63),
          },
          topic,
          runAll: runPipelined,
        }),
      intervalMs: config.flushIntervalMs,
      keepMs: config.writesKeepMs,
      patienceMs: PATIENCE_MS[origin.kind],
    };
    working = takeTurns(context, stop.signal, (next) => (turn = next));
    working.catch((error: unknown) => logger.error({ err: error }, 'the flusher failed'));
  };
  const intake = new ConfigIntake<{ readonly isNew: boolean }>({
    source: origin.source,
    begin: (of) => {
      begin(of.source, of.document);
      return {
        take(next) {
          document = next;
          return { isNew: true };
        },
      };
    },
    events: {
      taken: (_what, stamp) => logger.info({ ...stamp }, 'the statements of a document are used'),
      refused: (why, stamp) => logger.error({ ...stamp, why }, 'a document was refused'),
      // Nothing of a source's settings is used here.
      differs: () => undefined,
    },
  });
  let follower: ConfigFollower | undefined;
  if (origin.kind === 'file') intake.offer({ config: origin.document, source: origin.source, term: 0, revision: 0 });
  else {
    setState('waiting');
    follower = new ConfigFollower({ kafka, topic: origin.topic, logger, onDocument: (record) => intake.offer(record) });
  }

  await runUntilSignal({
    logger,
    deadlineMs: SHUTDOWN_MS,
    // It resolves only when it was stopped.
    ...(follower && { failed: follower.finished as Promise<never> }),
    steps: [
      { name: 'configuration', run: () => follower?.stop() },
      {
        name: 'flush',
        run: async () => {
          setState('stopping');
          stop.abort();
          await turn?.stop();
          await working?.catch(() => undefined);
        },
      },
      { name: 'http', run: () => closeServer(server, 1000) },
    ],
  });
}

/** One turn after the other until it is stopped. Never rejects for what may pass, or what a person has to mend. */
async function takeTurns(context: TurnContext, stop: AbortSignal, onTurn: (turn: FlushTurn) => void): Promise<void> {
  const { kafka, topic, logger, setState, metrics } = context;
  const backoff = new Backoff({ firstMs: 100, maxMs: 5_000 });
  let told = '';
  while (!stop.aborted) {
    const beganAtMs = performance.now();
    try {
      await ensureWritesTopic(kafka, topic);
      const turn = new FlushTurn(context);
      onTurn(turn);
      if (!stop.aborted) await turn.run();
      told = '';
    } catch (error) {
      const { message } = error as Error;
      const isLost = error instanceof WritesLostError;
      const isPersons = isLost || error instanceof OperatorError;
      if (message !== told || isLost)
        logger[isPersons ? 'error' : 'warn'](
          isPersons ? { topic } : { topic, err: error },
          isLost
            ? `acknowledged writes are lost, so nothing is flushed: ${message}. Once that is understood, set next_offset of topic ${topic} in tidemark.flush_progress to where to go on`
            : isPersons
              ? message
              : 'flushing failed: beginning anew',
        );
      told = message;
      metrics.retried();
      setState(isLost ? 'lost' : 'postgres-away');
      if (performance.now() - beganAtMs > 60_000) backoff.reset();
      if (isLost) await new Backoff({ firstMs: LOST_PAUSE_MS, maxMs: LOST_PAUSE_MS }).pause(stop);
      else await backoff.pause(stop);
    }
  }
}
