import {
  closeServer,
  createHttpServer,
  createKafka,
  createLogger,
  formatAddress,
  listen,
  runUntilSignal,
  shareNext,
} from '@tidemark/runtime';
import type { ClientConfig } from 'pg';
import { followFile } from './adapters/config-file.ts';
import { openRequestPool } from './adapters/postgres-pool.ts';
import { flushedOffset, markPosition } from './adapters/postgres-position.ts';
import { emitPurge } from './adapters/postgres-purge.ts';
import { slotHealth } from './adapters/postgres-slot.ts';
import { runConfig } from './config.ts';
import type { Leadership } from './core/leader-loop.ts';
import { createRoutes } from './http/routes.ts';
import { SOLE } from './run/context.ts';
import { FollowedByOthers } from './run/followed-by-others.ts';
import { RunMetrics } from './run/metrics.ts';
import type { State, Status } from './run/state.ts';
import { positionIn, type Followed } from './core/position.ts';
import { watchSlot } from './run/slot-watch.ts';
import { followConfigured } from './run/configuration.ts';
import { ConfigDocument } from './run/config-document.ts';
import type { ConfigView } from './run/config-keeper.ts';

const CONNECT_MS = 5000;
const QUERY_MS = 10_000;
const SHUTDOWN_MS = 10_000;
/** Every sidecar keeps some for purges and positions. */
const MAX_CONNECTIONS = 10_000;

/** `run`: follows Postgres and writes to Kafka until a signal. Rejects when a person has to mend something first. */
export async function run(configFile: string | undefined): Promise<void> {
  const config = runConfig(process.env, configFile);
  const logger = createLogger({ service: 'invalidator', instance: config.instance, level: config.logLevel });
  const metrics = new RunMetrics();
  const connection: ClientConfig = {
    connectionString: config.postgresUrl,
    application_name: `tidemark invalidator ${config.instance}`.slice(0, 63),
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
  };
  const querying: ClientConfig = { ...connection, query_timeout: QUERY_MS };
  let status: Status = { state: 'starting', detail: '', isReady: false };
  const setState = (state: State, detail: string, isReady = state === 'streaming'): void => {
    status = { state, detail, isReady };
    metrics.setState(state);
  };
  const kafka = createKafka({ ...config.kafka, clientId: `tidemark-invalidator-${config.instance}`, logger });
  const file = new ConfigDocument({ file: config.configFile, source: config.source, logger, metrics: metrics.config });
  const pool = openRequestPool(connection);
  let followed: Followed | undefined;
  let configView: (() => ConfigView) | undefined;
  const byOthers = new FollowedByOthers(kafka, config.topic);
  // However many sidecars ask, Postgres is asked by one at a time.
  const position = shareNext(() => pool.use(markPosition));
  // Any replica answers: what a standby does not follow itself it knows from the newest record.
  const known = async (): Promise<Followed | undefined> =>
    followed ?? (config.election === undefined ? undefined : await byOthers.find());
  const app = createRoutes({
    health: {
      unready: () => (status.isReady ? undefined : told(status)),
      ready: () => told(status),
      metrics: () => metrics.render(),
    },
    purge: (request) => pool.use((client, version) => emitPurge(client, request, version)),
    position: async () => positionIn(config.source, await known(), await position()),
    flushed: async (topic) => {
      const stream = await known();
      return pool.use(async (client, version) => {
        const offset = await flushedOffset(client, topic);
        const at = positionIn(config.source, stream, await markPosition(client, version));
        return at && { ...at, topic, offset };
      });
    },
    config: () => configView?.(),
    onPurge: (code) => metrics.purgeRequest(code),
    onError: (error) => logger.warn({ err: error }, 'a request failed'),
  });
  const server = createHttpServer(app, { maxConnections: MAX_CONNECTIONS });
  logger.info({ http: formatAddress(await listen(server, config.listen)) }, 'listening');

  const stop = new AbortController();
  let isReadyTold = false;
  const tellReady = (): void => {
    if (!isReadyTold) logger.info('ready');
    isReadyTold = true;
  };
  const lead = async (leadership: Leadership, ended: AbortSignal): Promise<void> => {
    setState('starting', '');
    await followConfigured({
      context: {
        config,
        kafka,
        connection,
        querying,
        logger,
        metrics,
        leadership,
        // What a term that is over has to say would hide what is.
        setState: (state, detail) => void (ended.aborted || setState(state, detail)),
        setFollowed: (stream) => void (ended.aborted || (followed = stream)),
      },
      file,
      stop: ended,
      onReady: tellReady,
      onConfig: (view) => void (ended.aborted || (configView = view)),
    });
  };
  const { election, kubeconfig, instance } = config;
  const work =
    election === undefined
      ? lead(SOLE, stop.signal)
      : (await import('./run/leading.ts')).takeTurns({
          election,
          kubeconfig,
          instance,
          logger,
          metrics,
          onFollowing: (holder) => {
            followed = undefined;
            configView = undefined;
            setState('standby', `${holder} leads`, true);
            tellReady();
          },
          // Whoever has heard of the lease once says what became of that.
          onBlind: (message) => {
            if (status.state === 'starting' && !isReadyTold) setState('starting', message);
          },
          lead,
          stop: stop.signal,
        });
  if (election === undefined) metrics.leading(SOLE.term);
  const following = followFile({
    path: config.configFile,
    onText: (text) => file.takeText(text),
    onUnreadable: (error) => file.takeUnreadable(error),
    stop: stop.signal,
  });
  const watching = watchSlot({
    look: () => pool.use((client, version) => slotHealth(client, config.slot, version)),
    onHealth: (health) => metrics.slot(health),
    logger,
    stop: stop.signal,
  });
  await runUntilSignal({
    logger,
    deadlineMs: SHUTDOWN_MS,
    // It resolves only when it was stopped.
    failed: work as Promise<never>,
    steps: [
      {
        name: 'stream',
        run: async () => {
          setState('stopping', '');
          stop.abort();
          // Its failure was told already.
          await Promise.allSettled([work, watching, following]);
        },
      },
      { name: 'http', run: () => closeServer(server, 1000) },
      { name: 'postgres', run: () => pool.close() },
    ],
  });
}

function told({ state, detail }: Status): string {
  return detail === '' ? state : `${state}: ${detail}`;
}
