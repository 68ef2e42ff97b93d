import { setTimeout as wait } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import { isMissingTopic, TopicConnection } from './kafka-cluster.ts';
import { KAFKA_REQUEST_TIMEOUT_MS } from './kafka.ts';
import type { KafkaRecord } from './record-reader.ts';

const MAX_BYTES = 1024 * 1024;
const MAX_WAIT_MS = 500;
/** How often a topic must be unknown before that is believed: a broker that has just started knows none for a moment. */
const MISSING_ATTEMPTS = 5;
const MISSING_PAUSE_MS = 200;
/** Records of transactions stand between those of producers, one each; nothing else may be in the way. */
const MAX_CONTROL_RECORDS = 100;

/** The newest record, or undefined when the topic is empty or does not exist. Rejects when Kafka cannot be read. */
export async function readLastRecord(kafka: Kafka, topic: string): Promise<KafkaRecord | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readLast(kafka, topic);
    } catch (error) {
      if (!isMissingTopic(error)) throw error;
      if (attempt === MISSING_ATTEMPTS) return undefined;
      await wait(MISSING_PAUSE_MS);
    }
  }
}

async function readLast(kafka: Kafka, topic: string): Promise<KafkaRecord | undefined> {
  const connection = new TopicConnection({ kafka, topic, deadlineMs: KAFKA_REQUEST_TIMEOUT_MS });
  try {
    await connection.open();
    const { earliest, next } = await connection.bounds();
    if (next === earliest) return undefined;
    for (let offset = next - 1; offset >= Math.max(earliest, next - MAX_CONTROL_RECORDS); offset--) {
      const { messages } = await connection.fetch({ offset, maxBytes: MAX_BYTES, maxWaitMs: MAX_WAIT_MS });
      const record = messages.find((message) => Number(message.offset) === offset && !message.isControlRecord);
      if (record !== undefined)
        return { offset, value: record.value ?? new Uint8Array(0), timestampMs: Number(record.timestamp) };
    }
    throw new Error(`topic ${topic} has records up to ${next}, but the newest of them cannot be read`);
  } finally {
    connection.close();
  }
}
