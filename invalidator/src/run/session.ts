import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { systemClock } from '../adapters/system.ts';
import { ensureTopic, openRecordLog, type RecordLog } from '../adapters/kafka-log.ts';
import {
  checkServer,
  emitHeartbeat,
  openSession,
  relationFacts,
  terminateBackend,
  walSenderOf,
  type ServerFacts,
} from '../adapters/postgres-session.ts';
import { identifyServer } from '../adapters/postgres-slot.ts';
import { openChangeStream } from '../adapters/postgres-stream.ts';
import { DEFAULT_BOUNDS } from '../core/bounds.ts';
import { StandbyError } from '../core/errors.ts';
import { isStreamDead, SILENCE_MS } from '../core/liveness.ts';
import { Outbox } from '../core/outbox.ts';
import type { ChangeStream } from '../core/ports.ts';
import { VisibleClock } from '../core/visibility.ts';
import { announceEpoch } from './announce.ts';
import { findBeginning, type FoundBeginning } from './beginning.ts';
import type { RunContext } from './context.ts';
import { catalogOf, CoverageWatch } from './coverage-watch.ts';
import { LastingProbe } from './probe.ts';
import { Publisher } from './publisher.ts';
import { StreamReader } from './reader.ts';
import type { RulesTurn } from './rules-feed.ts';
import { StreamError } from './stream-error.ts';
import { waitForTurn } from './turn.ts';
import { VisibilityWatch } from './visibility-watch.ts';

const HEARTBEAT_MS = 1000;
/** While a namespace waits to be served, looks follow one another faster. */
const SETTLING_MS = 100;
/** Records that may wait for the one in flight; beyond them the stream is paused. */
const MAX_PENDING = 2;
/** Longest wait for what was read to be published when the process is asked to end. */
const FLUSH_MS = 5000;
/** Longest wait for one connection to be closed. */
const CLOSE_MS = 1000;

export interface SessionOptions {
  readonly context: RunContext;
  readonly turn: RulesTurn;
  /** The session before ended in good order a moment ago, so what it found out about rights and topic holds. */
  readonly isHandedOver: boolean;
  /** Ends the session in good order. */
  readonly stop: AbortSignal;
  /** Why the slot is not to be used although it looks sound. */
  readonly unusable: string | undefined;
  /** The slot was made anew. */
  readonly onSlotMade: () => void;
  /** A record came all the way: Postgres, stream, Kafka. */
  readonly onProgress: () => void;
}

/**
 * One attempt at following Postgres: from connecting to the first failure of anything, or to a stop. It never mends
 * itself half-way; the next attempt begins from what Kafka and the slot have (SPEC I1, I2).
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #failure = Promise.withResolvers<never>();
  readonly #cleanups: (() => Promise<unknown>)[] = [];
  #heardAtMs = 0;
  #isStreaming = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#failure.promise.catch(() => undefined);
  }

  /** Resolves when it was stopped; rejects with what failed first. */
  async run(): Promise<void> {
    const { stop } = this.#options;
    const stopped = Promise.withResolvers<void>();
    const onStop = (): void => void setTimeout(stopped.resolve, this.#isStreaming ? FLUSH_MS : 0).unref();
    stop.addEventListener('abort', onStop);
    if (stop.aborted) onStop();
    try {
      await Promise.race([this.#follow(), this.#failure.promise, stopped.promise]);
    } catch (error) {
      if (!stop.aborted) throw error;
    } finally {
      stop.removeEventListener('abort', onStop);
      for (const cleanup of this.#cleanups.toReversed()) {
        await Promise.race([cleanup().catch(() => undefined), sleep(CLOSE_MS)]);
      }
    }
  }

  async #follow(): Promise<void> {
    const { context, turn, isHandedOver, stop, unusable } = this.#options;
    const { rules, claimsRetired } = turn;
    const { config, kafka, connection, querying } = context;
    const fail = this.#failure.reject;
    const client = await this.#owned(openSession({ connection: querying, onFailure: fail }), (opened) => opened.end());
    const server = await checkServer(client);
    if (server.inRecovery) throw new StandbyError();
    // Whether we may replicate is better known before anything is made.
    if (!isHandedOver) await identifyServer(connection);
    await waitForTurn({ context, client, server, stop });
    if (!isHandedOver) await ensureTopic(kafka, { topic: config.topic, retentionMs: config.retentionMs });
    const catalog = catalogOf({ context, rules, client, server });
    const coverage = await CoverageWatch.open({ context, rules, claimsRetired, catalog });
    const beginning = await findBeginning({ context, client, server, unusable, stop });
    if (beginning.inherited === undefined) this.#options.onSlotMade();
    coverage.begin(beginning);
    const log = await this.#owned(openRecordLog(kafka, config.topic), (opened) => opened.close());
    if (beginning.isNewEpoch) await announceEpoch({ context, beginning, log, coverage });
    const probe = new LastingProbe(connection, beginning.mark);
    await this.#owned(
      probe.open().then(() => probe),
      (opened) => opened.close(),
    );
    await this.#stream({ client, server, coverage, beginning, log, probe });
  }

  async #stream(parts: {
    client: Client;
    server: ServerFacts;
    coverage: CoverageWatch;
    beginning: FoundBeginning;
    log: RecordLog;
    probe: LastingProbe;
  }): Promise<void> {
    const { client, coverage, beginning, log, probe } = parts;
    const { context, turn, stop, onProgress } = this.#options;
    const { config, connection, metrics } = context;
    let claimed: readonly bigint[] = [];
    const outbox = new Outbox({ bounds: DEFAULT_BOUNDS, maxPending: MAX_PENDING, from: beginning.from });
    const clock = new VisibleClock(beginning.visible, beginning.from);
    const fail = this.#failure.reject;
    const watch = new VisibilityWatch({
      visible: clock,
      clock: systemClock,
      ask: (xids) => probe.ask(xids),
      onSeen: () => {
        if (clock.visible(outbox.taken) > publisher.visible) publisher.poke(true);
      },
    });
    this.#cleanups.push(async () => watch.stop());
    const { epoch, systemId, timeline } = beginning;
    context.setFollowed({ epoch, systemId, timeline });
    const publisher: Publisher = new Publisher({
      identity: { source: config.source, epoch, systemId, timeline },
      outbox,
      watch,
      visible: beginning.visible,
      append: (record) => log.append(record),
      claimsAt: (from) => {
        claimed = coverage.coversAt(from);
        return { covers: claimed, catalog: coverage.digests };
      },
      // What is not visible yet must come again after a restart, or its visibility could never be asked for.
      onDurable: (to) => stream.confirm(clock.confirmable(to)),
      onRoom: () => reader.drain(),
      onPublished: (published) => {
        metrics.published(published);
        turn.onPublished({ covers: claimed, refusals: coverage.refusals, isSettling: coverage.settling });
        onProgress();
      },
      clock: systemClock,
    });
    const reader = new StreamReader({
      rules: turn.rules.all,
      bounds: DEFAULT_BOUNDS,
      outbox,
      clock,
      lookUp: (oid) => relationFacts(client, oid, config.publication),
      partitioned: () => coverage.partitioned,
      onMember: (oid, lineage) => coverage.noteMember(oid, lineage),
      onNews: (heartbeat) => publisher.poke(heartbeat),
      onUnreadablePurge: () => {
        metrics.unreadablePurge();
        context.logger.error('a purge message in the WAL could not be understood: purging every namespace');
      },
      onFailure: (error) => fail(new StreamError(error)),
    });
    const stream = await this.#owned(
      openChangeStream({
        connection,
        slot: config.slot,
        publication: config.publication,
        mark: beginning.mark,
        handlers: {
          onMessage: (bytes) => {
            this.#heardAtMs = performance.now();
            reader.receive(bytes);
          },
          onKeepalive: (end) => {
            this.#heardAtMs = performance.now();
            reader.keepalive(end);
          },
          onFailure: (error) => fail(new StreamError(error)),
        },
      }).catch((error: unknown) => {
        throw new StreamError(error as Error);
      }),
      (opened) => opened.close(),
    );
    stream.confirm(beginning.confirmed);
    reader.attach(stream);
    this.#heardAtMs = performance.now();
    const publishing = publisher.run();
    const ticking = this.#tick({ ...parts, stream, reader, clock });
    this.#isStreaming = true;
    const finish = (): void => {
      reader.stop();
      publisher.stop();
    };
    stop.addEventListener('abort', finish, { once: true });
    // After a failure nothing of this session may go on: the next one begins from what Kafka has.
    this.#cleanups.push(async () => {
      stop.removeEventListener('abort', finish);
      reader.stop();
      publisher.abandon();
    });
    if (stop.aborted) finish();
    // The ticking ends with a stop; what was read is published then.
    await Promise.race([publishing, ticking.then(() => publishing)]);
  }

  /** Once a second: the catalog, the heartbeat, a sign of life to the server and one from it. */
  async #tick(parts: {
    client: Client;
    server: ServerFacts;
    coverage: CoverageWatch;
    stream: ChangeStream;
    reader: StreamReader;
    clock: VisibleClock;
  }): Promise<void> {
    const { client, server, coverage, stream, reader, clock } = parts;
    const { context, stop } = this.#options;
    const { metrics } = context;
    while (!stop.aborted) {
      const purged = await coverage.check();
      if (purged > 0) metrics.ddlPurge(purged);
      metrics.measure({ invisible: clock.count, uncovered: coverage.uncovered });
      await emitHeartbeat(client, server.version);
      stream.ping();
      await this.#checkAlive({ client, stream, reader });
      await sleep(coverage.settling ? SETTLING_MS : HEARTBEAT_MS, undefined, { signal: stop }).catch(() => undefined);
    }
  }

  async #checkAlive({
    client,
    stream,
    reader,
  }: {
    client: Client;
    stream: ChangeStream;
    reader: StreamReader;
  }): Promise<void> {
    if (reader.paused) this.#heardAtMs = performance.now();
    const silentMs = performance.now() - this.#heardAtMs;
    if (silentMs < SILENCE_MS) return;
    if (isStreamDead(silentMs, await walSenderOf(client, stream.backendPid))) {
      await terminateBackend(client, stream.backendPid);
      throw new Error(`the replication stream was silent for ${Math.round(silentMs / 1000)} s`);
    }
  }

  /** Registers what has to be closed, also when the session has failed by the time it is open. */
  async #owned<T>(opening: Promise<T>, close: (opened: T) => Promise<unknown>): Promise<T> {
    this.#cleanups.push(() => opening.then(close));
    return opening;
  }
}
