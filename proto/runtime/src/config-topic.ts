import { gzipSync } from 'node:zlib';
import { encodeConfigRecord, type ConfigStamp } from '@tidemark/proto';
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import { SettingError } from './setting-error.ts';

/**
 * The topic is not compacted, but keeps its newest records for ever: a segment that is written to is never deleted, so the
 * newest document cannot get lost, a reader that does not understand it finds those before, and a person sees what was changed
 * when. Compaction would keep just one. Topics that are compacted are read all the same: test/integration/config-topic.test.ts.
 */
const SETTINGS = {
  'cleanup.policy': 'delete',
  'retention.ms': '-1',
  'retention.bytes': String(64 * 1024 * 1024),
  'segment.bytes': String(8 * 1024 * 1024),
};
/** Below what brokers take unless told otherwise (max.message.bytes: 1 MiB, of the whole batch after compression). */
const MAX_COMPRESSED_BYTES = 1_000_000;

/** Makes the configuration topic if it is missing, and checks it. Throws {@link SettingError} when it would lose documents. */
export async function ensureConfigTopic(kafka: Kafka, topic: string): Promise<'made' | 'present'> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const isPresent = (await admin.listTopics()).includes(topic);
    if (isPresent) await check(admin, topic);
    else await make(admin, topic);
    return isPresent ? 'present' : 'made';
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

/**
 * Appends a document as its operator wrote it. Resolves to the record's offset once every in-sync replica has it. Throws a
 * RangeError for a document that nobody could read or that is too large; rejects when Kafka does not take it.
 */
export async function publishConfig(
  kafka: Kafka,
  options: ConfigStamp & { readonly topic: string; readonly document: unknown },
): Promise<number> {
  const { topic, term, revision, document } = options;
  const value = Buffer.from(encodeConfigRecord({ term, revision, document }));
  const compressedBytes = gzipSync(value).length;
  if (compressedBytes > MAX_COMPRESSED_BYTES) {
    throw new RangeError(
      `the document takes ${compressedBytes} bytes after compression, at most ${MAX_COMPRESSED_BYTES} fit a record: divide its namespaces between sources`,
    );
  }
  // Documents are rare, so none keeps a connection open.
  const producer = kafka.producer({ maxInFlightRequests: 1, allowAutoTopicCreation: false });
  await producer.connect();
  try {
    const answers = await producer.send({
      topic,
      acks: -1,
      compression: kafkajs.CompressionTypes.GZIP,
      // Topics that are compacted take no record without a key.
      messages: [{ key: 'document', value, partition: 0 }],
    });
    return Number(answers[0]?.baseOffset);
  } finally {
    await producer.disconnect().catch(() => undefined);
  }
}

async function make(admin: Admin, topic: string): Promise<void> {
  const { brokers } = await admin.describeCluster();
  const replicationFactor = Math.min(3, brokers.length);
  const settings = { ...SETTINGS, 'min.insync.replicas': String(Math.max(1, replicationFactor - 1)) };
  await admin.createTopics({
    // The wait of kafkajs gives up when the broker that it asks has not heard of the topic yet.
    waitForLeaders: false,
    topics: [
      {
        topic,
        numPartitions: 1,
        replicationFactor,
        configEntries: Object.entries(settings).map(([name, value]) => ({ name, value })),
      },
    ],
  });
}

async function check(admin: Admin, topic: string): Promise<void> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const partitions = topics[0]?.partitions.length ?? 0;
  if (partitions !== 1) {
    throw new SettingError(
      `TIDEMARK_CONFIG_TOPIC: topic ${topic} has ${partitions} partitions, expected 1 (documents of several would have no order): delete it, or name another one`,
    );
  }
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [
      {
        type: kafkajs.ConfigResourceTypes.TOPIC,
        name: topic,
        configNames: ['cleanup.policy', 'retention.ms'],
      },
    ],
  });
  const found = new Map(resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]));
  if (found.get('cleanup.policy') === 'compact' || found.get('retention.ms') === '-1') return;
  throw new SettingError(
    `TIDEMARK_CONFIG_TOPIC: topic ${topic} has retention.ms = ${found.get('retention.ms') ?? 'an unknown value'}, expected -1 (a sidecar that starts later would find no document): kafka-configs.sh --alter --entity-type topics --entity-name ${topic} --add-config retention.ms=-1`,
  );
}
