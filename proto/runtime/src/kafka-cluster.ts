import type { Kafka } from 'kafkajs';
import { withDeadline } from './deadline.ts';
import { abandonConnection, type KafkaConnection } from './kafka-fixes.ts';

/**
 * kafkajs's own cluster object: connections, metadata and requests without a consumer group. It is private to the Kafka
 * object and found through its symbol, so that brokers, TLS and SASL are those of the Kafka object.
 */
interface InnerCluster {
  readonly connectionPoolBuilder: {
    build(destination?: unknown): Promise<{ readonly pool: readonly KafkaConnection[] }>;
  };
  connect(): Promise<void>;
  addTargetTopic(topic: string): Promise<void>;
  findLeaderForPartitions(topic: string, partitions: readonly number[]): Record<string, readonly number[]>;
  findTopicPartitionMetadata(topic: string): readonly { readonly partitionId: number }[];
  findBroker(options: { nodeId: string }): Promise<InnerBroker>;
  fetchTopicsOffset(
    topics: readonly {
      topic: string;
      partitions: readonly { partition: number }[];
      fromBeginning?: boolean;
      fromTimestamp?: number;
    }[],
  ): Promise<readonly { readonly partitions: readonly { readonly offset: string }[] }[]>;
}

interface InnerBroker {
  fetch(request: object): Promise<FetchResponse>;
}

/** What a fetch answers, for the one partition that was asked for. */
interface FetchResponse {
  readonly responses: readonly { readonly partitions: readonly FetchedPartition[] }[];
}

export interface FetchedPartition {
  readonly highWatermark: string;
  readonly messages: readonly FetchedMessage[];
}

export interface FetchedMessage {
  readonly offset: string;
  readonly timestamp: string;
  readonly value: Buffer | null;
  readonly isControlRecord: boolean;
  readonly batchContext?: { readonly firstOffset?: string; readonly lastOffsetDelta?: number };
}

const READ_UNCOMMITTED = 0;
const PARTITION = 0;

/** One set of connections for one topic with one partition. After a failure it is closed and a new one is made. */
export class TopicConnection {
  readonly #cluster: InnerCluster;
  readonly #topic: string;
  readonly #deadlineMs: number;
  readonly #usesFirst: boolean;
  readonly #connections: KafkaConnection[] = [];
  #leader: InnerBroker | undefined;
  #isClosed = false;

  /**
   * @param options.deadlineMs for each request that is not a long poll
   * @param options.usesFirst whether the topic may have more partitions, which nobody writes to
   */
  constructor(options: {
    readonly kafka: Kafka;
    readonly topic: string;
    readonly deadlineMs: number;
    readonly usesFirst?: boolean | undefined;
  }) {
    this.#cluster = createInnerCluster(options.kafka);
    this.#topic = options.topic;
    this.#deadlineMs = options.deadlineMs;
    this.#usesFirst = options.usesFirst ?? false;
    this.#watchConnections();
  }

  /** Finds the leader of the topic's partition. Rejects with UNKNOWN_TOPIC_OR_PARTITION as `type` when there is no such topic. */
  async open(): Promise<void> {
    this.#leader = await this.#within(
      'connecting to Kafka',
      (async () => {
        await this.#cluster.connect();
        await this.#cluster.addTargetTopic(this.#topic);
        const partitions = this.#cluster.findTopicPartitionMetadata(this.#topic).length;
        if (partitions > 1 && !this.#usesFirst)
          throw new Error(
            `topic ${this.#topic} has ${partitions} partitions, expected 1: their records would have no order`,
          );
        const leader = Object.keys(this.#cluster.findLeaderForPartitions(this.#topic, [PARTITION]))[0];
        if (leader === undefined || leader === '-1')
          throw new Error(`topic ${this.#topic} has no leader at the moment`);
        return this.#cluster.findBroker({ nodeId: leader });
      })(),
    );
  }

  /** Oldest offset that is still there, and the offset that the next record will get. */
  async bounds(): Promise<{ readonly earliest: number; readonly next: number }> {
    const at = async (fromBeginning: boolean): Promise<number> => {
      const answer = await this.#cluster.fetchTopicsOffset([
        { topic: this.#topic, partitions: [{ partition: PARTITION }], fromBeginning },
      ]);
      return Number(answer[0]?.partitions[0]?.offset);
    };
    // One after the other: the first may have to connect.
    return this.#within(
      'asking Kafka for offsets',
      (async () => ({ earliest: await at(true), next: await at(false) }))(),
    );
  }

  /** Offset of the first record that was written at or after a moment (ms since 1970); undefined when there is none. */
  async offsetAt(timeMs: number): Promise<number | undefined> {
    const answer = await this.#within(
      'asking Kafka for the offset of a time',
      this.#cluster.fetchTopicsOffset([
        { topic: this.#topic, partitions: [{ partition: PARTITION }], fromTimestamp: timeMs },
      ]),
    );
    const offset = Number(answer[0]?.partitions[0]?.offset);
    return offset < 0 ? undefined : offset;
  }

  /** Records from an offset on; waits up to `maxWaitMs` for the first. Rejects with KafkaJSOffsetOutOfRange as `name` where there are none. */
  async fetch(options: {
    readonly offset: number;
    readonly maxBytes: number;
    readonly maxWaitMs: number;
  }): Promise<FetchedPartition> {
    if (this.#leader === undefined) throw new Error('not open');
    const { offset, maxBytes, maxWaitMs } = options;
    const request = {
      isolationLevel: READ_UNCOMMITTED,
      maxWaitTime: maxWaitMs,
      minBytes: 1,
      maxBytes,
      topics: [{ topic: this.#topic, partitions: [{ partition: PARTITION, fetchOffset: String(offset), maxBytes }] }],
    };
    const { responses } = await this.#within('fetching from Kafka', this.#leader.fetch(request), maxWaitMs);
    const partition = responses[0]?.partitions[0];
    if (partition === undefined) throw new Error('Kafka answered a fetch without the partition');
    return partition;
  }

  /** Ends every connection at once, also those that kafkajs is still trying to make. */
  close(): void {
    this.#isClosed = true;
    for (const connection of this.#connections) abandonConnection(connection);
  }

  #within<T>(what: string, promise: Promise<T>, extraMs = 0): Promise<T> {
    return withDeadline(promise, { what, deadlineMs: this.#deadlineMs + extraMs });
  }

  #watchConnections(): void {
    const builder = this.#cluster.connectionPoolBuilder;
    const build = builder.build.bind(builder);
    builder.build = async (destination) => {
      if (this.#isClosed) throw new Error('the connection to Kafka was closed');
      const pool = await build(destination);
      this.#connections.push(...pool.pool);
      return pool;
    };
  }
}

function createInnerCluster(kafka: Kafka): InnerCluster {
  const symbol = Object.getOwnPropertySymbols(kafka).find(
    ({ description }) => description === 'private:Kafka:createCluster',
  );
  if (symbol === undefined) throw new Error('this version of kafkajs keeps its cluster elsewhere (2.2.4 is expected)');
  const create = (kafka as unknown as Record<symbol, (options: object) => InnerCluster>)[symbol] as (
    options: object,
  ) => InnerCluster;
  return create({ metadataMaxAge: 300_000, allowAutoTopicCreation: false, isolationLevel: READ_UNCOMMITTED });
}

/** Whether Kafka said that there is no such topic. */
export function isMissingTopic(error: unknown): boolean {
  return isAnswer(error, 'UNKNOWN_TOPIC_OR_PARTITION');
}

/** Whether a partition has no leader at the moment, or one that does not know it yet: true of every new topic for a while. */
export function isLeaderless(error: unknown): boolean {
  return isAnswer(error, 'LEADER_NOT_AVAILABLE') || isAnswer(error, 'NOT_LEADER_FOR_PARTITION');
}

/** Where kafkajs has asked several times, it wraps what Kafka answered. */
function isAnswer(error: unknown, type: string): boolean {
  if (typeof error !== 'object' || error === null) return false;
  return ('type' in error && error.type === type) || ('cause' in error && isAnswer(error.cause, type));
}
