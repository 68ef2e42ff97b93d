import { ensureOrderedTopic } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';
import { OperatorError } from '../core/errors.ts';

/** What the topic is made with. */
const SETTINGS = {
  // Nothing but the flusher removes writes: whatever is older than any retention may still be waiting for Postgres.
  'cleanup.policy': 'delete',
  'retention.ms': '-1',
  'retention.bytes': '-1',
  // Batches of sidecars have up to 1 MiB; what a broker would pack by itself (zstd, lz4, snappy) the client here cannot read.
  'max.message.bytes': '1048588',
  'compression.type': 'producer',
  // Kafka 4 refuses what a sidecar writes whose clock is an hour fast, unless the broker's own clock counts.
  'message.timestamp.type': 'LogAppendTime',
};
const PARTITION = 0;
const READABLE: ReadonlySet<string> = new Set(['producer', 'uncompressed', 'gzip']);
const REMOVES = 'Kafka would remove writes that are not in Postgres yet';

/** Why a topic with this setting cannot hold writes; undefined where it can. */
function objection(name: string, found: string): string | undefined {
  switch (name) {
    case 'max.message.bytes':
      return Number(found) >= Number(SETTINGS[name]) ? undefined : 'Kafka would refuse batches of writes';
    case 'compression.type':
      return READABLE.has(found) ? undefined : 'nobody here could read them';
    case 'cleanup.policy':
    case 'retention.ms':
    case 'retention.bytes':
      return found === SETTINGS[name] ? undefined : REMOVES;
    default:
      return undefined;
  }
}

/** Makes the topic of writes if it is missing, and checks it. Throws {@link OperatorError} when it would lose writes. */
export function ensureWritesTopic(kafka: Kafka, topic: string): Promise<'made' | 'present'> {
  return ensureOrderedTopic(kafka, {
    topic,
    settings: SETTINGS,
    // Sidecars write to the first, and nobody to others that an operator may have added.
    usesFirst: true,
    complaint: (settings) => {
      for (const [name, expected] of Object.entries(SETTINGS)) {
        const found = settings.get(name) ?? expected;
        const why = objection(name, found);
        if (why !== undefined)
          return `${name} = ${found}, expected ${expected} (${why}): kafka-configs.sh --alter --entity-type topics --entity-name ${topic} --add-config ${name}=${expected}`;
      }
      return undefined;
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
