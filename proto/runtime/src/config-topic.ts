import { gzipSync } from 'node:zlib';
import { encodeConfigRecord, type ConfigStamp } from '@tidemark/proto';
import kafkajs, { type Kafka } from 'kafkajs';
import { ensureOrderedTopic } from './ordered-topic.ts';
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
export function ensureConfigTopic(kafka: Kafka, topic: string): Promise<'made' | 'present'> {
  return ensureOrderedTopic(kafka, {
    topic,
    settings: SETTINGS,
    complaint: (found) => {
      const retention = found.get('retention.ms');
      if (found.get('cleanup.policy') === 'compact' || retention === '-1') return undefined;
      return `retention.ms = ${retention ?? 'an unknown value'}, expected -1 (a sidecar that starts later would find no document): kafka-configs.sh --alter --entity-type topics --entity-name ${topic} --add-config retention.ms=-1`;
    },
    fail: (message) => new SettingError(`TIDEMARK_CONFIG_TOPIC: ${message}`),
  });
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
