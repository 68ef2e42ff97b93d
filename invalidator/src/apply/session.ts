import { randomBytes } from 'node:crypto';
import { decodeBatch, formatLsn, type DecodedBatch, type TidemarkConfig } from '@tidemark/proto';
import type { LogReply } from '@tidemark/proto/redis';
import { Backoff, RecordReader, type Delivery, type KafkaRecord, type Logger } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';
import { RecordGrouper, type SourceRecord } from '../core/applier-groups.ts';
import { Applier, type FenceLogs } from '../core/applier-loop.ts';
import type { ApplierState, ApplyMetrics } from './metrics.ts';

export interface SessionContext {
  readonly source: string;
  readonly topic: string;
  /** Names of a namespace beyond which it is fenced as a whole. */
  readonly maxFences: number;
  readonly kafka: Kafka;
  readonly logs: FenceLogs;
  readonly logger: Logger;
  readonly metrics: ApplyMetrics;
  readonly setState: (state: ApplierState) => void;
}

/** Most fences in one call of a script: Redis does nothing else meanwhile (about 1 ms). */
const MAX_FENCES_PER_CALL = 500;
/** The publisher writes once a second; without a record for so long, the reader tries a fresh connection. */
const STALL_MS = 10_000;
const STALL_CHECK_MS = 1_000;

/** Stops a session in the middle of its work. */
class Stopped extends Error {}

/** The time in which this process is the one that applies: from reading the logs' headers to the last record. */
export class ApplySession {
  readonly #context: SessionContext;
  readonly #stopping = new AbortController();
  readonly #grouper: RecordGrouper;
  readonly #applier: Applier;
  readonly #backoff = new Backoff({ firstMs: 20, maxMs: 1_000 });
  #reader: RecordReader | undefined;
  #heardAt = 0;
  #startedAt = 0;
  #isRedisAway = false;
  readonly #onProgress: () => void;

  /** @param options.onProgress called after every delivery that was applied */
  constructor(
    context: SessionContext,
    options: { readonly document: TidemarkConfig; readonly onProgress: () => void },
  ) {
    const { source, maxFences: maxNames, logs, metrics, logger } = context;
    const { document } = options;
    this.#context = context;
    this.#onProgress = options.onProgress;
    this.#grouper = new RecordGrouper({ config: document, source, maxNames, maxGroupNames: MAX_FENCES_PER_CALL });
    this.#applier = new Applier({
      logs,
      persist: (call) => this.#persist(call),
      freshName: () => randomBytes(8).toString('hex'),
      maxFencesPerCall: MAX_FENCES_PER_CALL,
      events: {
        onApplied: (group, deleted) => {
          const now = performance.now();
          const lagMs = group.publishedAtUs > 0 ? Math.max(0, Date.now() - group.publishedAtUs / 1000) : undefined;
          metrics.applied(group, { deleted, ms: now - this.#startedAt, lagMs });
          this.#startedAt = now;
        },
        onBegin: (bucket, reason, { header }) => {
          metrics.begun(reason);
          logger.warn({ bucket, reason, ...(header && { to: formatLsn(header.to) }) }, 'a fence log begins anew');
        },
        onAdopt: (bucket, { namespaces }) => {
          metrics.adopted();
          logger.info(
            { bucket, namespaces: namespaces.map(({ name }) => name) },
            'a fence log takes over its namespaces',
          );
        },
        onHole: (bucket, { to, offset }) => {
          metrics.hole();
          logger.warn({ bucket, to: formatLsn(to), offset }, 'Redis went back in time: reading Kafka again');
        },
      },
    });
  }

  /** Offset that every log has reached, if they are known. */
  get reachedOffset(): number | undefined {
    return this.#applier.reached()?.offset;
  }

  /** Resolves when it was stopped. Rejects only for a fault of our own. */
  async run(): Promise<void> {
    const { kafka, topic, logger, metrics } = this.#context;
    let watch: NodeJS.Timeout | undefined;
    try {
      const from = await this.#applier.load();
      if (this.#stopping.signal.aborted) return;
      logger.info({ offset: from ?? 'newest' }, 'applying');
      this.#heardAt = performance.now();
      this.#reader = new RecordReader({
        kafka,
        topic,
        start: from === undefined ? { from: 'newest-record' } : { from: 'offset', offset: from },
        logger,
        onRecords: (delivery) => this.#take(delivery),
        onReset: () => {
          metrics.reset();
          this.#applier.afterReset();
        },
      });
      watch = setInterval(() => this.#checkStall(), STALL_CHECK_MS);
      await this.#reader.finished;
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    } finally {
      clearInterval(watch);
      await this.#reader?.stop();
    }
  }

  /** Lets the call to Redis that is under way end, and nothing else. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#reader?.stop();
  }

  async #take({ records }: Delivery): Promise<void> {
    if (records.length === 0) return;
    this.#startedAt = performance.now();
    this.#heardAt = this.#startedAt;
    const seek = await this.#applier.take(this.#grouper.group(this.#decoded(records)));
    // Redis may have kept us for long; that was no stall of the stream.
    this.#heardAt = performance.now();
    if (seek !== undefined) this.#reader?.seek(seek);
    this.#context.setState('applying');
    this.#onProgress();
  }

  *#decoded(records: readonly KafkaRecord[]): Generator<SourceRecord> {
    for (const { offset, value } of records) yield { offset, decoded: this.#decode(offset, value) };
  }

  #decode(offset: number, value: Uint8Array): DecodedBatch | undefined {
    try {
      return decodeBatch(value);
    } catch (error) {
      this.#context.logger.error({ offset, err: error }, 'a record cannot be read');
      return undefined;
    }
  }

  /** Redis away is no reason to skip anything: the call is tried until it is answered. */
  async #persist(call: () => Promise<LogReply>): Promise<LogReply> {
    const { logger, metrics, setState } = this.#context;
    for (;;) {
      if (this.#stopping.signal.aborted) throw new Stopped();
      try {
        const reply = await call();
        this.#backoff.reset();
        if (this.#isRedisAway) {
          this.#isRedisAway = false;
          logger.info('Redis takes calls again');
        }
        return reply;
      } catch (error) {
        metrics.redisFailed();
        setState('redis-away');
        if (!this.#isRedisAway) logger.warn({ err: error }, 'Redis does not take a call: trying again');
        this.#isRedisAway = true;
        await this.#backoff.pause(this.#stopping.signal);
      }
    }
  }

  #checkStall(): void {
    if (this.#isRedisAway || performance.now() - this.#heardAt < STALL_MS) return;
    this.#heardAt = performance.now();
    this.#context.setState('stalled');
    this.#context.logger.warn({ stallMs: STALL_MS }, 'no record from Kafka: trying a fresh connection');
    this.#reader?.reconnect();
  }
}
