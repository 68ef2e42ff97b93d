import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import { Backoff } from './backoff.ts';
import { isLeaderless, isMissingTopic } from './kafka-cluster.ts';
import { KAFKA_REQUEST_TIMEOUT_MS } from './kafka.ts';

/** A topic with one partition, because its order matters. */
export interface OrderedTopic {
  readonly topic: string;
  /** For a topic that has to be made; `min.insync.replicas` is chosen here. */
  readonly settings: Readonly<Record<string, string>>;
  /** What is wrong with the settings of a topic that is there, and how to mend it; undefined where nothing is. */
  readonly complaint: (found: ReadonlyMap<string, string>) => string | undefined;
  /** Whether it may have more partitions, of which only the first is ever used (default false): Kafka takes none away. */
  readonly usesFirst?: boolean;
  /** The error that tells a person what to mend. */
  readonly fail: (message: string) => Error;
}

/**
 * Makes the topic if it is missing, and checks it, unless it is this very call that made it. Throws what `fail` gives when it
 * cannot serve; rejects when Kafka does not answer, or when 5 s were not enough for its brokers to hear of a topic that is there.
 */
export async function ensureOrderedTopic(kafka: Kafka, options: OrderedTopic): Promise<'made' | 'present'> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const backoff = new Backoff({ firstMs: 50, maxMs: 1_000 });
    const endMs = performance.now() + KAFKA_REQUEST_TIMEOUT_MS;
    for (;;) {
      try {
        await check(admin, options);
        return 'present';
      } catch (error) {
        const isMissing = isMissingTopic(error);
        if (!isMissing && !isLeaderless(error)) throw error;
        if (isMissing && (await make(admin, options))) return 'made';
        if (performance.now() > endMs) throw error;
      }
      // Somebody else has made it a moment ago, and not every broker has heard of it yet.
      await backoff.pause();
    }
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

/** False where there is such a topic by now. */
async function make(admin: Admin, { topic, settings }: OrderedTopic): Promise<boolean> {
  const { brokers } = await admin.describeCluster();
  const replicationFactor = Math.min(3, brokers.length);
  // One replica may be down without stopping the topic, and none of the others lags behind unnoticed.
  const all = { ...settings, 'min.insync.replicas': String(Math.max(1, replicationFactor - 1)) };
  return admin.createTopics({
    // The wait of kafkajs gives up when the broker that it asks has not heard of the topic yet.
    waitForLeaders: false,
    topics: [
      {
        topic,
        numPartitions: 1,
        replicationFactor,
        configEntries: Object.entries(all).map(([name, value]) => ({ name, value })),
      },
    ],
  });
}

async function check(
  admin: Admin,
  { topic, settings, complaint, usesFirst = false, fail }: OrderedTopic,
): Promise<void> {
  // Of what kafkajs can ask this alone is not about every topic: it fails where any of them has no leader. What follows goes by it.
  const { length: partitions } = await admin.fetchTopicOffsets(topic);
  if (partitions !== 1 && !(usesFirst && partitions > 1)) {
    throw fail(
      `topic ${topic} has ${partitions} partitions, expected 1 (records of several would have no order): delete it, or name another one`,
    );
  }
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configNames: Object.keys(settings) }],
  });
  const wrong = complaint(
    new Map(resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue])),
  );
  if (wrong !== undefined) throw fail(`topic ${topic} has ${wrong}`);
}
