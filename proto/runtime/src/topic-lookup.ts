import type { Kafka } from 'kafkajs';
import { Backoff } from './backoff.ts';
import { isMissingTopic, TopicConnection } from './kafka-cluster.ts';
import { KAFKA_REQUEST_TIMEOUT_MS } from './kafka.ts';
import type { KafkaRecord } from './record-reader.ts';

/** Offsets of what a topic holds. */
export interface TopicBounds {
  /** Of the oldest record that is still there. */
  readonly earliest: number;
  /** What the next record will get. */
  readonly next: number;
}

/** Looks into a topic's only partition at any place. Each call is tried again a few times; then it rejects. */
export interface TopicLookup {
  bounds(): Promise<TopicBounds>;
  /** Offset of the first record that was written at or after a moment (ms since 1970); undefined when there is none. */
  offsetAt(timeMs: number): Promise<number | undefined>;
  /** The first record at or behind an offset; undefined when there is none before `end`. */
  recordAt(offset: number, end: number): Promise<KafkaRecord | undefined>;
  close(): void;
}

const MAX_BYTES = 64 * 1024;
const MAX_WAIT_MS = 500;
const ATTEMPTS = 5;

/** Connects when it is first used. `usesFirst`: the topic may have more partitions, which nobody writes to. */
export function openTopicLookup(
  kafka: Kafka,
  topic: string,
  { usesFirst }: { readonly usesFirst?: boolean } = {},
): TopicLookup {
  let connection: TopicConnection | undefined;
  const close = (): void => {
    connection?.close();
    connection = undefined;
  };
  const ask = async <T>(question: (connection: TopicConnection) => Promise<T>): Promise<T> => {
    const backoff = new Backoff({ firstMs: 100, maxMs: 2_000 });
    for (let attempt = 1; ; attempt++) {
      try {
        if (connection === undefined) {
          connection = new TopicConnection({ kafka, topic, deadlineMs: KAFKA_REQUEST_TIMEOUT_MS, usesFirst });
          await connection.open();
        }
        return await question(connection);
      } catch (error) {
        close();
        // A broker that has just started knows no topic for a moment.
        if (attempt === ATTEMPTS || (isMissingTopic(error) && attempt === 3)) throw error;
        await backoff.pause();
      }
    }
  };
  return {
    bounds: () => ask((open) => open.bounds()),
    offsetAt: (timeMs) => ask((open) => open.offsetAt(timeMs)),
    recordAt: (wanted, end) =>
      ask(async (open) => {
        for (let offset = wanted; offset < end;) {
          const { messages } = await open.fetch({ offset, maxBytes: MAX_BYTES, maxWaitMs: MAX_WAIT_MS });
          const found = messages.find((message) => !message.isControlRecord && Number(message.offset) >= offset);
          if (found !== undefined && Number(found.offset) < end) {
            const { offset: at, value, timestamp } = found;
            return { offset: Number(at), value: value ?? new Uint8Array(0), timestampMs: Number(timestamp) };
          }
          const last = messages.at(-1);
          if (last === undefined) return undefined;
          offset = Number(last.offset) + 1;
        }
        return undefined;
      }),
    close,
  };
}
