import type { TidemarkConfig } from '@tidemark/proto';
import { Backoff, RecordReader, type Delivery, type KafkaRecord, type Logger } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';
import { ProgressMovedError, type Flushed, type FlushDatabase } from '../adapters/postgres-flush.ts';
import { failureKind, type Failure } from '../core/flush/failure.ts';
import { Patience } from '../core/flush/patience.ts';
import { planFlush, TooNewError, type FlushPlan } from '../core/flush/plan.ts';
import { checkBounds, WritesLostError } from './bounds.ts';
import type { FlusherState, FlushMetrics } from './metrics.ts';
import { TopicCare } from './topic-care.ts';

export interface TurnContext {
  readonly source: string;
  readonly topic: string;
  readonly kafka: Kafka;
  readonly logger: Logger;
  readonly metrics: FlushMetrics;
  readonly setState: (state: FlusherState) => void;
  /** The newest that is known. */
  readonly document: () => TidemarkConfig;
  /** Opens a session with Postgres. */
  readonly open: () => Promise<FlushDatabase>;
  /** Shortest time between two batches while nothing is left to read. */
  readonly intervalMs: number;
  /** How long flushed writes stay in Kafka. */
  readonly keepMs: number;
  /** How long a namespace may be unknown before what was written to it is parked. */
  readonly patienceMs: number;
}

/** Ends a turn without a fault: it was stopped, or another one has worked meanwhile. */
class Ended extends Error {}

/** Most writes of one transaction, and most bytes that one fetch brings. */
const MAX_WRITES = 2_000;
const MAX_BYTES = 8 * 1024 * 1024;
/** How often a failure that may be the write's is tried before the write is parked. */
const MAX_UNCLEAR = 5;
const STANDBY_POLL_MS = 500;
const LOOK_AROUND_MS = 1_000;

/** The time in which this process is the one that flushes: from having the turn to losing the session with Postgres for good. */
export class FlushTurn {
  readonly #context: TurnContext;
  readonly #stopping = new AbortController();
  readonly #backoff = new Backoff({ firstMs: 50, maxMs: 5_000 });
  readonly #patience: Patience;
  #database: FlushDatabase | undefined;
  #reader: RecordReader | undefined;
  #next = 0;
  #forgettable = 0;
  #oldestAtMs: number | undefined;
  #wasTold = '';
  #lookedAtMs = 0;

  constructor(context: TurnContext) {
    this.#context = context;
    this.#patience = new Patience(context.patienceMs);
  }

  /** Resolves when it was stopped, or others have worked meanwhile. Rejects with {@link WritesLostError}, or what Postgres says at the start. */
  async run(): Promise<void> {
    const { kafka, topic, logger, intervalMs, setState, open } = this.#context;
    const care = new TopicCare(this.#context, () => ({
      next: this.#next,
      forgettable: this.#forgettable,
      oldestAtMs: this.#oldestAtMs,
    }));
    try {
      this.#database = await open();
      await this.#awaitTurn(this.#database);
      this.#next = await this.#database.progress();
      await checkBounds(this.#context, this.#next);
      logger.info({ topic, offset: this.#next }, 'flushing');
      setState('flushing');
      care.start();
      this.#reader = new RecordReader({
        kafka,
        topic,
        usesFirst: true,
        logger,
        start: { from: 'offset', offset: this.#next },
        maxBytes: MAX_BYTES,
        fetchIntervalMs: intervalMs,
        onRecords: (delivery) => this.#take(delivery),
        onReset: ({ reason, wantedOffset, startOffset }) => {
          throw new WritesLostError(
            `the writes from offset ${wantedOffset} on are ${reason}: Kafka goes on at ${startOffset}`,
          );
        },
      });
      if (this.#stopping.signal.aborted) void this.#reader.stop();
      await this.#reader.finished;
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
    } finally {
      care.stop();
      await this.#reader?.stop();
      await this.#database?.close().catch(() => undefined);
    }
  }

  /** Lets the transaction that is under way end. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#reader?.stop();
  }

  async #awaitTurn(database: FlushDatabase): Promise<void> {
    const pacing = new Backoff({ firstMs: STANDBY_POLL_MS, maxMs: STANDBY_POLL_MS });
    while (!(await database.tryTurn())) {
      if (this.#stopping.signal.aborted) throw new Ended();
      this.#context.setState('standby');
      // What waits is for the one to tell that works.
      this.#context.metrics.waiting(0, undefined);
      await pacing.pause(this.#stopping.signal);
    }
    if (this.#stopping.signal.aborted) throw new Ended();
  }

  async #take({ records, highWatermark }: Delivery): Promise<void> {
    await this.#lookAround();
    this.#context.metrics.waiting(Math.max(0, highWatermark - this.#next), records[0]?.timestampMs);
    for (let i = 0; i < records.length; i += MAX_WRITES) {
      const batch = records.slice(i, i + MAX_WRITES);
      this.#oldestAtMs = batch[0]?.timestampMs;
      await this.#flush(batch);
    }
    this.#oldestAtMs = undefined;
    this.#context.metrics.waiting(Math.max(0, highWatermark - this.#next), undefined);
  }

  /** Tries until it has worked. Rejects only where this turn is over. */
  async #flush(records: readonly KafkaRecord[]): Promise<void> {
    const { metrics, logger, topic, setState } = this.#context;
    const beganAtMs = performance.now();
    const nextOffset = (records.at(-1)?.offset ?? 0) + 1;
    let isolates = false;
    let unclear = 0;
    for (;;) {
      if (this.#stopping.signal.aborted) throw new Ended();
      try {
        const plan = this.#plan(records, isolates);
        if (plan !== undefined) {
          const work = { plan, fromOffset: this.#next, nextOffset, isolates, parksUnclear: unclear >= MAX_UNCLEAR };
          const flushed = await (await this.#session()).flush(work);
          this.#flushed(records, { plan, flushed, nextOffset, ms: performance.now() - beganAtMs });
          return;
        }
      } catch (error) {
        if (error instanceof Ended) throw error;
        if (error instanceof ProgressMovedError) {
          await this.#afterMove(error, nextOffset);
          return;
        }
        const { code, message } = error as Error & Failure;
        // Without a session no statement was run.
        const isOurs = error instanceof TooNewError || this.#database === undefined;
        const kind = isOurs ? 'passing' : failureKind(error as Failure);
        if (kind !== 'passing' && !isolates) metrics.isolated();
        else metrics.retried();
        // Write by write it is seen whose fault it is; a passing failure is nobody's.
        const wasIsolated = isolates;
        isolates ||= kind !== 'passing';
        if (kind === 'unclear') unclear += 1;
        this.#tell(`${code ?? ''} ${message}`, () =>
          logger.warn({ topic, offset: this.#next, nextOffset, err: error }, 'a flush failed: trying again'),
        );
        await this.#closeSession();
        if (kind !== 'passing' && !wasIsolated) continue;
        setState('postgres-away');
      }
      await this.#backoff.pause(this.#stopping.signal);
    }
  }

  /** Undefined while a namespace is unknown that may only have not been heard of yet. */
  #plan(records: readonly KafkaRecord[], isolates: boolean): FlushPlan | undefined {
    const { document, source, logger } = this.#context;
    const plan = planFlush(records, { document: document(), source, coalesces: !isolates });
    if (this.#patience.isOver(plan.missing, performance.now())) return plan;
    this.#tell(`missing ${[...plan.missing].join()}`, () =>
      logger.warn(
        { namespaces: [...plan.missing] },
        'writes for namespaces that the document does not have: waiting for it',
      ),
    );
    return undefined;
  }

  #flushed(
    records: readonly KafkaRecord[],
    { plan, flushed, nextOffset, ms }: { plan: FlushPlan; flushed: Flushed; nextOffset: number; ms: number },
  ): void {
    const { metrics, logger, setState } = this.#context;
    this.#next = nextOffset;
    this.#backoff.reset();
    this.#wasTold = '';
    setState('flushing');
    const { statements, parked } = flushed;
    metrics.flushed({ writes: records.length, statements, coalesced: plan.coalesced, parked: parked.length, ms });
    for (const { record, write, code, why } of parked) {
      const { namespace, key } = write ?? {};
      logger.error(
        { offset: record.offset, namespace, key, code, why },
        'a write was parked: see tidemark.parked_writes',
      );
    }
  }

  /**
   * What is done now and then, whether anything is written or not: what a person has marked in tidemark.parked_writes, and what Kafka
   * may forget. Not worth a failed turn: it is looked at again and again.
   */
  async #lookAround(): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#lookedAtMs < LOOK_AROUND_MS) return;
    this.#lookedAtMs = nowMs;
    const { document, source, logger, metrics, setState, keepMs } = this.#context;
    const isFresh = this.#database === undefined;
    try {
      const database = await this.#session();
      setState('flushing');
      // A database that went back (a failover that lost commits) is flushed again, whether anything is written meanwhile or not.
      if (isFresh && (await database.progress()) !== this.#next) throw new Ended();
      const retried = await database.retryParked((records) =>
        planFlush(records, { document: document(), source, coalesces: false }),
      );
      this.#forgettable = await database.notePlace(keepMs);
      this.#wasTold = '';
      if (retried.done + retried.failed > 0) logger.info({ ...retried }, 'parked writes were tried again');
    } catch (error) {
      if (error instanceof Ended) throw error;
      metrics.retried();
      if (this.#database === undefined) setState('postgres-away');
      this.#tell((error as Error).message, () =>
        logger.warn({ err: error }, 'parked writes and what Kafka may forget could not be looked at'),
      );
      await this.#closeSession();
    }
  }

  /** Whether our own commit had worked after all, whose answer was lost. Otherwise others have worked: the turn is over. */
  async #afterMove(error: Error, nextOffset: number): Promise<void> {
    await this.#closeSession();
    const now = await (await this.#session()).progress();
    if (now !== nextOffset) {
      this.#context.logger.warn({ err: error, progress: now }, 'the progress moved: beginning anew');
      throw new Ended();
    }
    this.#next = nextOffset;
    this.#backoff.reset();
    this.#context.setState('flushing');
  }

  /** A session that has the turn; a fresh one after a failure. Where another one has the turn by now, ours is over. */
  async #session(): Promise<FlushDatabase> {
    if (this.#database !== undefined) return this.#database;
    const database = await this.#context.open();
    try {
      if (!(await database.tryTurn())) throw new Ended();
    } catch (error) {
      await database.close().catch(() => undefined);
      throw error;
    }
    this.#database = database;
    return database;
  }

  async #closeSession(): Promise<void> {
    const database = this.#database;
    this.#database = undefined;
    await database?.close().catch(() => undefined);
  }

  #tell(what: string, say: () => void): void {
    if (this.#wasTold !== what) say();
    this.#wasTold = what;
  }
}
