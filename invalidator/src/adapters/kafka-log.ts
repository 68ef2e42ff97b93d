import kafkajs, { type Kafka, type Producer } from 'kafkajs';
import { ensureOrderedTopic, readLastRecord } from '@tidemark/runtime';
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
export function ensureTopic(
  kafka: Kafka,
  { topic, retentionMs }: { readonly topic: string; readonly retentionMs: number },
): Promise<'made' | 'present'> {
  return ensureOrderedTopic(kafka, {
    topic,
    settings: { 'cleanup.policy': 'delete', 'retention.ms': String(retentionMs) },
    complaint: (found) => {
      const policy = found.get('cleanup.policy') ?? 'delete';
      if (policy === 'delete') return undefined;
      return `cleanup.policy = ${policy}, expected delete (compaction would tear holes into the stream): kafka-configs.sh --alter --entity-type topics --entity-name ${topic} --add-config cleanup.policy=delete`;
    },
    fail: (message) => new OperatorError(message),
  });
}
