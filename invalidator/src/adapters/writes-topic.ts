import { ensureOrderedTopic } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';
import { OperatorError } from '../core/errors.ts';

/** Nothing but the flusher removes writes: whatever is older than any retention may still be waiting for Postgres. */
const SETTINGS = { 'cleanup.policy': 'delete', 'retention.ms': '-1', 'retention.bytes': '-1' };
const PARTITION = 0;

/** Makes the topic of writes if it is missing, and checks it. Throws {@link OperatorError} when it would lose writes. */
export function ensureWritesTopic(kafka: Kafka, topic: string): Promise<'made' | 'present'> {
  return ensureOrderedTopic(kafka, {
    topic,
    settings: SETTINGS,
    complaint: (found) => {
      const wrong = Object.entries(SETTINGS).find(([name, value]) => (found.get(name) ?? value) !== value);
      if (wrong === undefined) return undefined;
      const [name, value] = wrong;
      return `${name} = ${found.get(name) ?? ''}, expected ${value} (Kafka would remove writes that are not in Postgres yet): kafka-configs.sh --alter --entity-type topics --entity-name ${topic} --add-config ${name}=${value}`;
    },
    fail: (message) => new OperatorError(`TIDEMARK_WRITES_TOPIC: ${message}`),
  });
}

/** Lets Kafka forget the records below an offset. */
export async function forgetWrites(kafka: Kafka, topic: string, offset: number): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    // deleteTopicRecords of kafkajs 2.2.4 goes by metadata that only another call loads.
    await admin.fetchTopicOffsets(topic);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: PARTITION, offset: String(offset) }] });
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}
