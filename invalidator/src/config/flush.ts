import { MAX_WRITES_TOPIC_CHARS } from '@tidemark/proto';
import { duration, topicName } from '@tidemark/runtime';

/** The name of the topic of writes. Throws what was expected. */
export function writesTopicName(found: string): string {
  if (found.length > MAX_WRITES_TOPIC_CHARS)
    throw new Error(`expected at most ${MAX_WRITES_TOPIC_CHARS} characters: it stands in marks in the WAL`);
  return topicName(found);
}

/** Shortest time between two batches. */
export const flushInterval = duration({ min: '0ms', max: '10s' });
/** How long flushed writes stay in Kafka. */
export const writesKeep = duration({ min: '1s', max: '30d' });
