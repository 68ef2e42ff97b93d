import { openTopicLookup, type Logger } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';
import { forgetWrites } from '../adapters/writes-topic.ts';
import type { FlushMetrics } from './metrics.ts';

const LOOK_MS = 2_000;
/** How often Kafka may be told to forget: this part of the time that it keeps writes, within these bounds. */
const FORGET_PART = 0.1;
const MIN_FORGET_MS = 1_000;
const MAX_FORGET_MS = 60_000;

interface CareContext {
  readonly kafka: Kafka;
  readonly topic: string;
  /** How long flushed writes stay. */
  readonly keepMs: number;
  readonly metrics: FlushMetrics;
  readonly logger: Logger;
}

/** How far the flusher is. */
interface FlushProgress {
  /** Offset of the first write that is not in Postgres yet. */
  readonly next: number;
  /** Offset below which all has been in Postgres for as long as writes are kept. */
  readonly forgettable: number;
  /** When the oldest write was written that is being flushed; undefined while none is. */
  readonly oldestAtMs: number | undefined;
}

/** Looks after the topic while its writes are flushed: how many wait, also while none gets through, and which Kafka may forget. */
export class TopicCare {
  readonly #context: CareContext;
  readonly #progress: () => FlushProgress;
  #timers: readonly NodeJS.Timeout[] = [];
  #isLooking = false;
  #forgotten = 0;

  constructor(context: CareContext, progress: () => FlushProgress) {
    this.#context = context;
    this.#progress = progress;
  }

  start(): void {
    const forgetMs = Math.min(MAX_FORGET_MS, Math.max(MIN_FORGET_MS, FORGET_PART * this.#context.keepMs));
    this.#timers = [setInterval(() => void this.#look(), LOOK_MS), setInterval(() => void this.#forget(), forgetMs)];
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return;
    const { kafka, topic, metrics } = this.#context;
    this.#isLooking = true;
    const lookup = openTopicLookup(kafka, topic, { usesFirst: true });
    try {
      const bounds = await lookup.bounds();
      const { next, oldestAtMs } = this.#progress();
      metrics.waiting(Math.max(0, bounds.next - next), oldestAtMs);
    } catch {
      // Kafka is away, which the reader tells.
    } finally {
      this.#isLooking = false;
      lookup.close();
    }
  }

  async #forget(): Promise<void> {
    const { kafka, topic, metrics, logger } = this.#context;
    const { forgettable: offset } = this.#progress();
    if (offset <= this.#forgotten) return;
    try {
      await forgetWrites(kafka, topic, offset);
      this.#forgotten = offset;
      metrics.forgotten(offset);
    } catch (error) {
      logger.warn({ err: error, offset }, 'Kafka did not forget flushed writes: trying again later');
    }
  }
}
