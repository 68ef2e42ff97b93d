import { openTopicLookup } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';

/** Kafka does not hold what Postgres expects next. */
export class WritesLostError extends Error {
  override name = 'WritesLostError';
}

/** What Postgres expects next has to be in the topic, or to be what is written next. Rejects with {@link WritesLostError} otherwise. */
export async function checkBounds(
  { kafka, topic }: { readonly kafka: Kafka; readonly topic: string },
  expected: number,
): Promise<void> {
  const lookup = openTopicLookup(kafka, topic, { usesFirst: true });
  try {
    const { earliest, next } = await lookup.bounds();
    if (expected >= earliest && expected <= next) return;
    throw new WritesLostError(
      expected < earliest
        ? `writes ${expected} to ${earliest - 1} are gone from Kafka and not in Postgres`
        : `Kafka holds writes up to ${next - 1}, but Postgres had them up to ${expected - 1}: the topic was made anew or cut`,
    );
  } finally {
    lookup.close();
  }
}
