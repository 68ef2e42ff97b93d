import { compareConfigStamps, decodeConfigRecord, type ConfigRecord } from '@tidemark/proto';
import type { Kafka } from 'kafkajs';
import type { Logger } from './logger.ts';
import { RecordReader, type KafkaRecord, type Reset } from './record-reader.ts';

export interface ConfigFollowerOptions {
  readonly kafka: Kafka;
  /** Need not exist yet. */
  readonly topic: string;
  readonly logger: Logger;
  /**
   * Called with the newest document that was understood, again when there is a newer one, and again with what there is when the
   * topic was made anew. An error ends the follower.
   */
  readonly onDocument: (record: ConfigRecord) => void;
  /** Called when nothing is left to read: at first, and whenever something was read. Told what is held then. */
  readonly onCaughtUp?: (held: ConfigRecord | undefined) => void;
  /** Called for a record that is not understood, and for one that is older than what is held. */
  readonly onIgnored?: (why: 'unreadable' | 'older') => void;
}

/** How many records are looked at to find the newest document that is understood. */
const START_RECORDS = 16;
/** Documents are rare: ten thousand readers should not keep the brokers busy. Below the limit of a request (5 s). */
const LONG_POLL_MS = 4_000;

/**
 * Reads the configuration topic: the newest document, then each newer one, until it is stopped. Newer means a later term, or the
 * same with a later revision: a publisher that was replaced and wakes up changes nothing. Kafka away, or a topic that is not there
 * yet, is waited for.
 */
export class ConfigFollower {
  readonly #options: ConfigFollowerOptions;
  readonly #reader: RecordReader;
  #held: ConfigRecord | undefined;
  #wasCaughtUp = false;

  /** Begins to read at once. */
  constructor(options: ConfigFollowerOptions) {
    this.#options = options;
    const { kafka, topic, logger } = options;
    this.#reader = new RecordReader({
      kafka,
      topic,
      logger,
      start: { from: 'newest-records', count: START_RECORDS },
      longPollMs: LONG_POLL_MS,
      onRecords: ({ records, caughtUp }) => {
        this.#take(records);
        if (!caughtUp || (this.#wasCaughtUp && records.length === 0)) return;
        this.#wasCaughtUp = true;
        options.onCaughtUp?.(this.#held);
      },
      onReset: (reset) => this.#onReset(reset),
    });
  }

  /** The newest document; undefined while none was read. */
  get held(): ConfigRecord | undefined {
    return this.#held;
  }

  get isConnected(): boolean {
    return this.#reader.isConnected;
  }

  /** Resolves when it was stopped; rejects when one of the callbacks threw. */
  get finished(): Promise<void> {
    return this.#reader.finished;
  }

  /** No callback begins afterwards. */
  stop(): Promise<void> {
    return this.#reader.stop();
  }

  /** Of several at once only the newest is told. */
  #take(records: readonly KafkaRecord[]): void {
    const before = this.#held;
    for (const record of records) this.#look(record);
    if (this.#held !== undefined && this.#held !== before) this.#options.onDocument(this.#held);
  }

  #look({ offset, value }: KafkaRecord): void {
    const { topic, logger, onIgnored } = this.#options;
    const decoded = decodeConfigRecord(value);
    if (!decoded.ok) {
      logger.error({ topic, offset, why: decoded.why }, 'a configuration record is not understood and changes nothing');
      onIgnored?.('unreadable');
      return;
    }
    const { record } = decoded;
    if (this.#held !== undefined && compareConfigStamps(record, this.#held) < 0) {
      const { term, revision } = this.#held;
      const details = { topic, offset, term: record.term, revision: record.revision, held: { term, revision } };
      logger.warn(details, 'a configuration record is older than the one that is held and changes nothing');
      onIgnored?.('older');
      return;
    }
    this.#held = record;
  }

  /** In a topic that was made anew terms may begin anew too: what is there counts, however old it says it is. */
  #onReset({ reason }: Reset): void {
    this.#wasCaughtUp = false;
    if (reason === 'recreated') this.#held = undefined;
  }
}
