import kafkajs, { type Admin, type Kafka, type Producer } from 'kafkajs';
import { readLastRecord } from '@tidemark/runtime';
import { OperatorError } from '../core/errors.ts';

/** The source's topic, as its only writer uses it. */
export interface RecordLog {
  /** Resolves once every in-sync replica has the record. Not to be called again before that. */
  append(record: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Larger records are compressed: below it the work costs more than the bytes. */
const GZIP_FROM_BYTES = 16 * 1024;

/** Connects the writer. One record is in flight at a time: kafkajs sends several concurrently and could reorder them. */
export async function openRecordLog(kafka: Kafka, topic: string): Promise<RecordLog> {
  const producer: Producer = kafka.producer({ maxInFlightRequests: 1, allowAutoTopicCreation: false });
  await producer.connect();
  return {
    async append(record) {
      await producer.send({
        topic,
        acks: -1,
        compression: record.length >= GZIP_FROM_BYTES ? kafkajs.CompressionTypes.GZIP : kafkajs.CompressionTypes.None,
        messages: [{ value: Buffer.from(record.buffer, record.byteOffset, record.byteLength), partition: 0 }],
      });
    },
    close: () => producer.disconnect(),
  };
}

/** The newest record of the topic, or undefined when it has none. */
export async function newestRecord(kafka: Kafka, topic: string): Promise<Uint8Array | undefined> {
  return (await readLastRecord(kafka, topic))?.value;
}

/** Makes the topic if it is missing, and checks it. Throws {@link OperatorError} when it cannot serve. */
export async function ensureTopic(
  kafka: Kafka,
  options: { readonly topic: string; readonly retentionMs: number },
): Promise<'made' | 'present'> {
  const { topic } = options;
  const admin = kafka.admin();
  await admin.connect();
  try {
    const present = (await admin.listTopics()).includes(topic);
    if (!present) await makeTopic(admin, options);
    else await checkTopic(admin, topic);
    return present ? 'present' : 'made';
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

async function makeTopic(
  admin: Admin,
  { topic, retentionMs }: { readonly topic: string; readonly retentionMs: number },
): Promise<void> {
  const { brokers } = await admin.describeCluster();
  const replicationFactor = Math.min(3, brokers.length);
  const settings = {
    'cleanup.policy': 'delete',
    'retention.ms': String(retentionMs),
    // One replica may be down without stopping the stream, and none of the others lags behind unnoticed.
    'min.insync.replicas': String(Math.max(1, replicationFactor - 1)),
  };
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

async function checkTopic(admin: Admin, topic: string): Promise<void> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const partitions = topics[0]?.partitions.length ?? 0;
  if (partitions !== 1) {
    throw new OperatorError(
      `topic ${topic} has ${partitions} partitions, expected 1 (records of several would have no order): delete it, or name another one in the configuration`,
    );
  }
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configNames: ['cleanup.policy'] }],
  });
  const policy =
    resources[0]?.configEntries.find(({ configName }) => configName === 'cleanup.policy')?.configValue ?? 'delete';
  if (policy !== 'delete') {
    throw new OperatorError(
      `topic ${topic} has cleanup.policy = ${policy}, expected delete (compaction would tear holes into the stream): kafka-configs.sh --alter --topic ${topic} --add-config cleanup.policy=delete`,
    );
  }
}
