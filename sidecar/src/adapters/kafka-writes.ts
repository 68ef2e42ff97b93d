import { RecordReader, withDeadline, type Logger } from '@tidemark/runtime';
import type { Appended, WriteLog } from '../core/behind-writer.ts';
import type { WriteFeed, WriteListener } from '../core/pending-follower.ts';

type Kafka = ConstructorParameters<typeof RecordReader>[0]['kafka'];
type Producer = ReturnType<Kafka['producer']>;

/** Reads the topic of writes, from wherever it is told to. */
export class KafkaWriteFeed implements WriteFeed {
  readonly #options: { readonly kafka: Kafka; readonly topic: string; readonly logger: Logger };
  #reader: RecordReader | undefined;

  constructor(options: { readonly kafka: Kafka; readonly topic: string; readonly logger: Logger }) {
    this.#options = options;
  }

  readFrom(offset: number, listener: WriteListener): void {
    void this.#reader?.stop();
    const reader = new RecordReader({
      ...this.#options,
      usesFirst: true,
      start: { from: 'offset', offset },
      onRecords: (delivery) => {
        if (this.#reader === reader) listener.delivered(delivery);
      },
      onReset: ({ reason }) => {
        if (this.#reader !== reader) return;
        // It would go on at the newest record.
        this.#reader = undefined;
        void reader.stop();
        listener.reset(reason);
      },
    });
    this.#reader = reader;
    reader.finished.catch((error: unknown) => {
      if (this.#reader !== reader) return;
      this.#options.logger.error({ err: error }, 'the reader of writes ended');
      listener.reset('unreadable');
    });
  }

  async stop(): Promise<void> {
    const reader = this.#reader;
    this.#reader = undefined;
    await reader?.stop();
  }
}

/** Most bytes of one batch: below what brokers take unless told otherwise (max.message.bytes: 1 MiB). */
const MAX_BATCH_BYTES = 960 * 1024;
const MAX_BATCH_RECORDS = 1_000;
/** Longer than kafkajs tries by itself: three requests of 5 s each, and connections between them. */
const SEND_MS = 30_000;
const CONNECT_MS = 5_000;

const STOPPED: Appended = { failed: 'unsent', detail: 'the sidecar is being stopped' };

interface Queued {
  readonly record: Uint8Array;
  readonly settle: (appended: Appended) => void;
  /** Whether it is among those that were sent: from then on nobody can take it back. */
  isSent: boolean;
}

export interface KafkaWriteLogOptions {
  readonly kafka: Kafka;
  readonly topic: string;
  /** Longest that a write waits for Kafka. */
  readonly deadlineMs: number;
  /** Most bytes of writes that wait. */
  readonly maxQueuedBytes: number;
}

/**
 * Appends writes to their topic: one batch is under way at a time, and what comes meanwhile is the next one, so that batches grow with
 * the load and nothing is reordered. The producer is idempotent: what kafkajs sends again after a lost answer is stored once.
 *
 * A producer whose batch failed is thrown away. kafkajs gives the sequence numbers of a failed batch to the next one, and a broker that
 * has stored the former after all would take the latter for its repetition: it would acknowledge what it never stored.
 */
export class KafkaWriteLog implements WriteLog {
  readonly #options: KafkaWriteLogOptions;
  #producer: Producer | undefined;
  #queue: Queued[] = [];
  #queuedBytes = 0;
  #isSending = false;
  #isStopped = false;

  constructor(options: KafkaWriteLogOptions) {
    this.#options = options;
  }

  append(record: Uint8Array): Promise<Appended> {
    const { deadlineMs, maxQueuedBytes } = this.#options;
    if (this.#isStopped) return Promise.resolve(STOPPED);
    if (this.#queuedBytes + record.length > maxQueuedBytes)
      return Promise.resolve({ failed: 'full', detail: 'too many writes wait for Kafka' });
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#expire(queued), deadlineMs);
      const queued: Queued = {
        record,
        isSent: false,
        settle: (appended) => {
          clearTimeout(timer);
          resolve(appended);
        },
      };
      this.#queuedBytes += record.length;
      this.#queue.push(queued);
      void this.#send();
    });
  }

  /** Lets the batch that is under way end. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const each of this.#queue.splice(0)) this.#done(each, STOPPED);
    await this.#discard();
  }

  /** What was sent stays in the books until its batch has come to an end. */
  #expire(queued: Queued): void {
    if (queued.isSent) {
      queued.settle({ failed: 'unknown', detail: 'Kafka did not answer in time' });
      return;
    }
    this.#queue = this.#queue.filter((each) => each !== queued);
    this.#done(queued, { failed: 'unsent', detail: 'Kafka did not take it in time' });
  }

  async #send(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      while (this.#queue.length > 0) {
        const producer = await this.#connected();
        if (producer === undefined) return;
        await this.#sendBatch(producer, this.#takeBatch());
      }
    } finally {
      this.#isSending = false;
    }
  }

  /** Undefined where Kafka is away: those who wait were told. */
  async #connected(): Promise<Producer | undefined> {
    if (this.#producer !== undefined) return this.#producer;
    const producer = this.#options.kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
    });
    try {
      await withDeadline(producer.connect(), { what: 'connecting to Kafka', deadlineMs: CONNECT_MS });
      this.#producer = producer;
      return producer;
    } catch (error) {
      void producer.disconnect().catch(() => undefined);
      const detail = `Kafka cannot be reached: ${(error as Error).message}`;
      for (const each of this.#queue.splice(0)) this.#done(each, { failed: 'unsent', detail });
      return undefined;
    }
  }

  #takeBatch(): readonly Queued[] {
    let bytes = 0;
    let count = 0;
    for (const { record } of this.#queue) {
      if (count >= MAX_BATCH_RECORDS || (count > 0 && bytes + record.length > MAX_BATCH_BYTES)) break;
      bytes += record.length;
      count += 1;
    }
    const batch = this.#queue.splice(0, count);
    for (const each of batch) each.isSent = true;
    return batch;
  }

  async #sendBatch(producer: Producer, batch: readonly Queued[]): Promise<void> {
    const { topic } = this.#options;
    try {
      const answers = await withDeadline(
        producer.send({
          topic,
          acks: -1,
          messages: batch.map(({ record }) => ({ value: asBuffer(record), partition: 0 })),
        }),
        { what: 'writing to Kafka', deadlineMs: SEND_MS },
      );
      const base = Number(answers[0]?.baseOffset ?? -1);
      if (!Number.isSafeInteger(base) || base < 0) throw new Error('Kafka answered without an offset');
      for (const [i, each] of batch.entries()) this.#done(each, { offset: base + i });
    } catch (error) {
      await this.#discard();
      const detail = `Kafka did not acknowledge it: ${(error as Error).message}`;
      for (const each of batch) this.#done(each, { failed: 'unknown', detail });
    }
  }

  #done(queued: Queued, appended: Appended): void {
    this.#queuedBytes -= queued.record.length;
    queued.settle(appended);
  }

  async #discard(): Promise<void> {
    const producer = this.#producer;
    this.#producer = undefined;
    await producer?.disconnect().catch(() => undefined);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
