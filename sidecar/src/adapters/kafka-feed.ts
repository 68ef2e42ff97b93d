import { setImmediate as nextTurn } from 'node:timers/promises';
import { RecordReader, type Logger } from '@tidemark/runtime';
import type { Feed, FeedListener } from '../core/ports.ts';

/** After so long other work has its turn between two records (SPEC I13). */
const SLICE_MS = 10;

type Kafka = ConstructorParameters<typeof RecordReader>[0]['kafka'];

export interface KafkaFeedOptions {
  readonly kafka: Kafka;
  readonly topic: string;
  readonly logger: Logger;
  /** See RecordReader. */
  readonly fetchIntervalMs: number;
  /** A reader that calls nobody for so long is replaced; it should be longer than any deadline inside it. */
  readonly silenceMs: number;
}

/** The stream of one source from Kafka, from its newest record on; watched, so that it never ends in silence. */
export class KafkaFeed implements Feed {
  readonly #options: KafkaFeedOptions;
  #reader: RecordReader | undefined;
  #watchdog: NodeJS.Timeout | undefined;
  #calledAtMs = 0;
  #isSilent = false;
  #restarts = 0;

  constructor(options: KafkaFeedOptions) {
    this.#options = options;
  }

  /** How often the watchdog had to step in. */
  get restarts(): number {
    return this.#restarts;
  }

  get isConnected(): boolean {
    return this.#reader?.isConnected ?? false;
  }

  start(listener: FeedListener): void {
    this.#open(listener, undefined);
    this.#watchdog = setInterval(() => this.#watch(listener), this.#options.silenceMs / 4);
  }

  async stop(): Promise<void> {
    clearInterval(this.#watchdog);
    await this.#reader?.stop();
  }

  #open(listener: FeedListener, offset: number | undefined): void {
    this.#calledAtMs = performance.now();
    const reader = new RecordReader({
      kafka: this.#options.kafka,
      topic: this.#options.topic,
      logger: this.#options.logger,
      fetchIntervalMs: this.#options.fetchIntervalMs,
      start: offset === undefined ? { from: 'newest-record' } : { from: 'offset', offset },
      onRecords: async ({ records, caughtUp, requestedAtMs }) => {
        if (this.#reader !== reader) return;
        this.#called();
        let sliceAtMs = performance.now();
        for (const { value } of records) {
          listener.record(value);
          if (performance.now() - sliceAtMs < SLICE_MS) continue;
          // A backlog of large records must not keep callers waiting until all of it is applied.
          await nextTurn();
          if (this.#reader !== reader) return;
          this.#called();
          sliceAtMs = performance.now();
        }
        if (caughtUp && records.length > 0) listener.heard(requestedAtMs);
      },
      onReset: ({ reason }) => {
        if (this.#reader !== reader) return;
        this.#called();
        listener.reset(reason);
      },
    });
    this.#reader = reader;
    reader.finished.catch((error: unknown) => {
      this.#options.logger.error({ err: error }, 'the record reader ended; the watchdog starts another');
    });
  }

  #called(): void {
    this.#calledAtMs = performance.now();
    this.#isSilent = false;
  }

  /** While Kafka is away the reader tries again by itself, and is silent; a fresh one in its place does no harm. */
  #watch(listener: FeedListener): void {
    if (performance.now() - this.#calledAtMs < this.#options.silenceMs) return;
    this.#restarts += 1;
    const offset = this.#reader?.nextOffset;
    // Told once an outage: the reader itself says why it cannot read.
    const level = this.#isSilent ? 'debug' : 'warn';
    this.#isSilent = true;
    this.#options.logger[level](
      { offset, restarts: this.#restarts },
      'the feed is silent: reading with a fresh reader',
    );
    void this.#reader?.stop();
    this.#open(listener, offset);
  }
}
