import type { Consumer, Kafka } from 'kafkajs';
import { Backoff, withDeadline, type Logger } from '@tidemark/runtime';

/** Lowest that brokers allow by default (group.min.session.timeout.ms): so long after a kill another one takes over. */
const SESSION_MS = 6_000;
const HEARTBEAT_MS = 1_000;
/** How long a member that is not reading sleeps between two looks at whether a heartbeat is due. */
const IDLE_MS = 500;
/** Without a sign of life from the coordinator for so long, the membership is made anew. */
const SILENCE_MS = 2 * SESSION_MS;
const LEAVE_MS = 3_000;

export interface KafkaGroupOptions {
  readonly kafka: Kafka;
  readonly topic: string;
  readonly group: string;
  readonly logger: Logger;
  /** Told at the first join, and whenever the choice changes. */
  readonly onChange: (isChosen: boolean) => void;
}

/**
 * Membership in a consumer group that says which of several processes works; the topic's only partition is given to one
 * of them. It reads nothing itself: group consumers jump over lost history in silence and stall after a broker was killed
 * (kafkajs 2.2.4, as seen in tests with killed brokers), so who is chosen reads with the record reader.
 *
 * Who was chosen stays so until it hears otherwise, also while the coordinator is away: two that work at the same time
 * disturb each other, but do no harm (SPEC I7).
 */
export class KafkaGroup {
  readonly #options: KafkaGroupOptions;
  readonly #backoff = new Backoff({ firstMs: 200, maxMs: 5_000 });
  readonly #stopping = new AbortController();
  #consumer: Consumer | undefined;
  #isChosen: boolean | undefined;
  #isMember = false;
  #complaint = '';
  readonly #finished: Promise<void>;

  constructor(options: KafkaGroupOptions) {
    this.#options = options;
    this.#finished = this.#run();
  }

  /** Tells the group how far the work has come, for those who watch its lag; it decides nothing, so failures are let go. */
  async report(nextOffset: number): Promise<void> {
    const { topic, logger } = this.#options;
    if (!this.#isMember) return;
    try {
      await this.#consumer?.commitOffsets([{ topic, partition: 0, offset: String(nextOffset) }]);
    } catch (error) {
      logger.debug({ err: error }, 'the group was not told of the offset');
    }
  }

  /** Leaves the group, so that another member is chosen at once. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#finished;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#beMember();
      } catch (error) {
        this.#complain(error);
      }
      this.#isMember = false;
      if (!signal.aborted) await this.#backoff.pause(signal);
    }
  }

  /** Resolves when told to stop; rejects when the membership is lost. */
  async #beMember(): Promise<void> {
    const { kafka, topic, group, onChange } = this.#options;
    const consumer = kafka.consumer({
      groupId: group,
      sessionTimeout: SESSION_MS,
      rebalanceTimeout: SESSION_MS,
      heartbeatInterval: HEARTBEAT_MS,
      maxWaitTimeInMs: IDLE_MS,
      allowAutoTopicCreation: false,
      retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 3, restartOnFailure: async () => false },
    });
    this.#consumer = consumer;
    const lost = Promise.withResolvers<never>();
    lost.promise.catch(() => undefined);
    let heardAt = performance.now();
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      heardAt = performance.now();
      // Before the first fetch: the records are read elsewhere.
      consumer.pause([{ topic }]);
      this.#joined();
      const isChosen = (payload.memberAssignment[topic]?.length ?? 0) > 0;
      if (isChosen === this.#isChosen) return;
      this.#isChosen = isChosen;
      onChange(isChosen);
    });
    consumer.on(consumer.events.HEARTBEAT, () => {
      heardAt = performance.now();
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => lost.reject(payload.error));
    const watch = setInterval(() => {
      if (performance.now() - heardAt > SILENCE_MS) lost.reject(new Error('the coordinator of the group is silent'));
    }, HEARTBEAT_MS);
    const stopped = new Promise<void>((resolve) => {
      this.#stopping.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    try {
      const start = async (): Promise<void> => {
        await consumer.connect();
        await consumer.subscribe({ topic });
        await consumer.run({ autoCommit: false, eachBatch: async () => undefined });
      };
      await Promise.race([start(), stopped, lost.promise]);
      await Promise.race([stopped, lost.promise]);
    } finally {
      clearInterval(watch);
      this.#consumer = undefined;
      // Leaves the group if it can be told; the coordinator finds out by itself otherwise.
      await withDeadline(consumer.disconnect(), { what: 'leaving the group', deadlineMs: LEAVE_MS }).catch(
        () => undefined,
      );
    }
  }

  #joined(): void {
    this.#backoff.reset();
    this.#isMember = true;
    if (this.#complaint === '') return;
    this.#complaint = '';
    this.#options.logger.info({ group: this.#options.group }, 'member of the group again');
  }

  #complain(error: unknown): void {
    const { logger, group, topic } = this.#options;
    const isMissing =
      typeof error === 'object' && error !== null && 'type' in error && error.type === 'UNKNOWN_TOPIC_OR_PARTITION';
    const complaint = isMissing
      ? 'the topic does not exist yet: waiting for it'
      : 'no member of the group: trying again';
    if (complaint === this.#complaint) return;
    this.#complaint = complaint;
    logger.warn({ group, topic, ...(isMissing ? {} : { err: error }) }, complaint);
  }
}
