import { setTimeout as pause } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import { Backoff } from './backoff.ts';
import { isMissingTopic, TopicConnection, type FetchedPartition } from './kafka-cluster.ts';
import { KAFKA_REQUEST_TIMEOUT_MS } from './kafka.ts';
import type { Logger } from './logger.ts';

/** One record of the topic. */
export interface KafkaRecord {
  readonly offset: number;
  /** Empty for a record without a value. */
  readonly value: Uint8Array;
  /** When Kafka or the producer says that it was written, ms since 1970. */
  readonly timestampMs: number;
}

/** What one fetch brought. */
export interface Delivery {
  /** In the order of their offsets; empty when nothing was written during the long poll. */
  readonly records: readonly KafkaRecord[];
  /** Offset that the next record written will get, as Kafka knew it when it answered. */
  readonly highWatermark: number;
  /** Where the next fetch begins. */
  readonly nextOffset: number;
  /** When the fetch was sent, by performance.now(): everything written before was readable by then. */
  readonly requestedAtMs: number;
  /** Whether nothing is left to read. */
  readonly caughtUp: boolean;
}

/** The place where reading was to go on does not exist: records may be lost. */
export interface Reset {
  /** `lost`: too old, deleted by retention. `recreated`: beyond the end. `unreadable`: there, but nothing can be read from it. */
  readonly reason: 'lost' | 'recreated' | 'unreadable';
  readonly wantedOffset: number;
  /** Where reading goes on: the newest record (or as many as it starts with), or the end of an empty topic. */
  readonly startOffset: number;
}

export type ReaderStart =
  | { readonly from: 'newest-record' }
  /** The newest record and those before it, as far as they are there. */
  | { readonly from: 'newest-records'; readonly count: number }
  | { readonly from: 'offset'; readonly offset: number };

export interface RecordReaderOptions {
  readonly kafka: Kafka;
  /** Must have one partition, unless {@link usesFirst}. */
  readonly topic: string;
  /** Whether it may have more partitions, which nobody writes to: the first is read (default false). */
  readonly usesFirst?: boolean;
  readonly start: ReaderStart;
  readonly logger: Logger;
  /** Called for each fetch, also for those that bring nothing; the next fetch waits for it. An error ends the reader. */
  readonly onRecords: (delivery: Delivery) => void | Promise<void>;
  /** Called before the first record after a break. */
  readonly onReset: (reset: Reset) => void | Promise<void>;
  /** Told whether there is a connection that answers. */
  readonly onConnection?: (isConnected: boolean) => void;
  /** Most bytes that one fetch brings, unless the first record alone is larger. */
  readonly maxBytes?: number;
  /**
   * Shortest time between the begins of two fetches while nothing is left to read (default 0 ms). What is written meanwhile
   * comes with one fetch: the broker's work goes with fetches, hardly with records. A record after a silence is not held up.
   */
  readonly fetchIntervalMs?: number;
  /** How long a fetch waits for a record once all are read; less than the time in which a request must be answered. */
  readonly longPollMs?: number;
}

const LONG_POLL_MS = 500;
const DEFAULT_MAX_BYTES = 1024 * 1024;
const FIRST_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 1_000;
/** So many fetches in a row that bring nothing although there is something mean that it cannot be read (compaction). */
const MAX_BARREN_FETCHES = 5;

/**
 * Reads every record of a topic's only partition, without a consumer group: no coordinator, no rebalances, no committed
 * offsets, and no silent jump when the place to read from is gone: ARCHITECTURE.md says what groups cost and lose.
 *
 * It reads until it is stopped: whatever fails, it waits a little and goes on with fresh connections at the same offset.
 * Every request has a deadline, so a silent broker cannot hold it up for longer than about five seconds.
 */
export class RecordReader {
  readonly #options: RecordReaderOptions;
  readonly #backoff = new Backoff({ firstMs: FIRST_BACKOFF_MS, maxMs: MAX_BACKOFF_MS });
  readonly #stopping = new AbortController();
  #connection: TopicConnection | undefined;
  #isConnected = false;
  #isCaughtUp = false;
  #complaint = '';
  #barren = 0;
  /** Undefined until the newest record has been looked up. */
  #next: number | undefined;
  /** How many records it begins with where the place to begin must be looked up. */
  readonly #startCount: number;
  /** Resolves when the reader was stopped; rejects when one of the callbacks threw. */
  readonly finished: Promise<void>;

  /** Begins to read at once. */
  constructor(options: RecordReaderOptions) {
    this.#options = options;
    const { start } = options;
    this.#next = start.from === 'offset' ? start.offset : undefined;
    this.#startCount = start.from === 'newest-records' ? start.count : 1;
    this.finished = this.#run();
    this.finished.catch(() => undefined);
  }

  /** Where the next fetch begins; undefined until that is known. */
  get nextOffset(): number | undefined {
    return this.#next;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Goes on elsewhere. Only from within a callback, so that no fetch is under way. */
  seek(offset: number): void {
    this.#next = offset;
  }

  /** Gives up the connection and makes a new one, at the same offset. */
  reconnect(): void {
    this.#connection?.close();
  }

  /** Ends the reader; no callback begins afterwards. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#connection?.close();
    await this.finished.catch(() => undefined);
  }

  async #run(): Promise<void> {
    const { kafka, topic, usesFirst } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const connection = new TopicConnection({ kafka, topic, deadlineMs: KAFKA_REQUEST_TIMEOUT_MS, usesFirst });
      this.#connection = connection;
      try {
        await connection.open();
        this.#next ??= this.#newest(await connection.bounds());
        while (!this.#stopping.signal.aborted) {
          const beganAtMs = performance.now();
          await this.#readOnce(connection);
          await this.#rest(beganAtMs);
        }
      } catch (error) {
        if (error instanceof CallbackError) throw error.cause;
        if (!this.#stopping.signal.aborted) this.#complain(error);
      } finally {
        connection.close();
        this.#setConnected(false);
      }
      if (!this.#stopping.signal.aborted) await this.#backoff.pause(this.#stopping.signal);
    }
  }

  async #readOnce(connection: TopicConnection): Promise<void> {
    const offset = this.#next as number;
    const requestedAtMs = performance.now();
    let fetched: FetchedPartition;
    try {
      fetched = await connection.fetch({
        offset,
        maxBytes: this.#options.maxBytes ?? DEFAULT_MAX_BYTES,
        maxWaitMs: this.#isCaughtUp ? (this.#options.longPollMs ?? LONG_POLL_MS) : LONG_POLL_MS,
      });
    } catch (error) {
      if (!isNamed(error, 'KafkaJSOffsetOutOfRange')) throw error;
      await this.#reset(connection, offset, undefined);
      return;
    }
    if (this.#stopping.signal.aborted) return;
    this.#backoff.reset();
    this.#setConnected(true);
    const highWatermark = Number(fetched.highWatermark);
    const nextOffset = endOf(fetched, offset);
    this.#next = nextOffset;
    this.#isCaughtUp = nextOffset >= highWatermark;
    this.#barren = nextOffset === offset && highWatermark > offset ? this.#barren + 1 : 0;
    if (this.#barren >= MAX_BARREN_FETCHES) {
      this.#barren = 0;
      await this.#reset(connection, offset, 'unreadable');
      return;
    }
    const records = fetched.messages
      .filter((message) => !message.isControlRecord && Number(message.offset) >= offset)
      .map(({ offset: at, value, timestamp }) => ({
        offset: Number(at),
        value: value ?? new Uint8Array(0),
        timestampMs: Number(timestamp),
      }));
    await called(() =>
      this.#options.onRecords({
        records,
        highWatermark,
        nextOffset,
        requestedAtMs,
        caughtUp: this.#isCaughtUp,
      }),
    );
  }

  async #rest(sinceMs: number): Promise<void> {
    const leftMs = (this.#options.fetchIntervalMs ?? 0) - (performance.now() - sinceMs);
    if (leftMs <= 0 || !this.#isCaughtUp) return;
    await pause(leftMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }

  /** The new start is known before anybody is told: what is flushed because of the break is filled again from there on. */
  async #reset(connection: TopicConnection, wantedOffset: number, known: 'unreadable' | undefined): Promise<void> {
    const bounds = await connection.bounds();
    // Said of a moment that has passed, such as a leader that was only just elected.
    if (known === undefined && wantedOffset >= bounds.earliest && wantedOffset <= bounds.next) return;
    const reason = known ?? (wantedOffset < bounds.earliest ? 'lost' : 'recreated');
    // What cannot be read is passed over, even if it is the newest record.
    const newest = this.#newest(bounds);
    const startOffset = known === undefined ? newest : Math.max(newest, wantedOffset + 1);
    const reset: Reset = { reason, wantedOffset, startOffset };
    this.#options.logger.warn(
      { topic: this.#options.topic, ...reset, ...bounds },
      'the records to read next are gone from Kafka',
    );
    this.#next = startOffset;
    await called(() => this.#options.onReset(reset));
  }

  #newest({ earliest, next }: { readonly earliest: number; readonly next: number }): number {
    return Math.max(earliest, next - this.#startCount);
  }

  #setConnected(isConnected: boolean): void {
    if (this.#isConnected === isConnected) return;
    this.#isConnected = isConnected;
    if (isConnected && this.#complaint !== '') {
      this.#complaint = '';
      this.#options.logger.info({ topic: this.#options.topic, offset: this.#next }, 'reading from Kafka again');
    }
    this.#options.onConnection?.(isConnected);
  }

  /** Once an outage, and again when the reason changes. */
  #complain(error: unknown): void {
    const { topic, logger } = this.#options;
    const isMissing = isMissingTopic(error);
    const complaint = isMissing ? 'the topic does not exist yet: waiting for it' : 'Kafka cannot be read: trying again';
    if (complaint === this.#complaint) {
      logger.debug({ topic, err: error }, complaint);
      return;
    }
    this.#complaint = complaint;
    logger.warn({ topic, offset: this.#next, ...(isMissing ? {} : { err: error }) }, complaint);
  }
}

/** Offset behind what a fetch brought. A batch may end beyond its last record, where compaction took that. */
function endOf({ messages }: FetchedPartition, offset: number): number {
  const last = messages.at(-1);
  if (last === undefined) return offset;
  const { firstOffset, lastOffsetDelta } = last.batchContext ?? {};
  const batchEnd =
    firstOffset === undefined || lastOffsetDelta === undefined ? 0 : Number(firstOffset) + lastOffsetDelta + 1;
  return Math.max(offset, Number(last.offset) + 1, batchEnd);
}

/** A callback threw: not a failure of Kafka, so not tried again. */
class CallbackError extends Error {}

async function called(callback: () => void | Promise<void>): Promise<void> {
  try {
    await callback();
  } catch (error) {
    throw new CallbackError('a callback of the record reader threw', { cause: error });
  }
}

function isNamed(error: unknown, name: string): boolean {
  return error instanceof Error && error.name === name;
}
