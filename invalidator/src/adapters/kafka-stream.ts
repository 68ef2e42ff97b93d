import { RecordReader, type Delivery, type Logger } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';
import { OperatorError } from '../core/errors.ts';
import type { RecordStream } from '../core/replay/ports.ts';

/** Ends the reader in the middle of its work. */
class Ended extends Error {}

/** Reads a part of a topic as it is now: from an offset up to, not including, another. Waits for Kafka while it is away. */
export function kafkaStream(options: {
  readonly kafka: Kafka;
  readonly topic: string;
  readonly from: number;
  readonly end: number;
  readonly logger: Logger;
}): RecordStream {
  const { kafka, topic, from, end, logger } = options;
  let next = from;
  return {
    progress: () => ({ done: Math.min(next, end) - from, total: Math.max(0, end - from) }),
    async read(take, signal) {
      if (from >= end) return;
      const reader = new RecordReader({
        kafka,
        topic,
        logger,
        start: { from: 'offset', offset: from },
        onRecords: async ({ records, nextOffset }: Delivery) => {
          const wanted = nextOffset > end ? records.filter(({ offset }) => offset < end) : records;
          const goesOn = await take(wanted);
          next = nextOffset;
          if (!goesOn || nextOffset >= end) throw new Ended();
        },
        onReset: ({ reason, wantedOffset }) => {
          throw new OperatorError(
            reason === 'recreated'
              ? `topic ${topic} has no offset ${wantedOffset} any more: it was made anew meanwhile`
              : `Kafka has removed the records at offset ${wantedOffset} of ${topic} before they were read (retention.ms, retention.bytes): begin again with --from earliest`,
          );
        },
      });
      const stop = (): void => void reader.stop();
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
      try {
        await reader.finished;
      } catch (error) {
        if (!(error instanceof Ended)) throw error;
      } finally {
        signal.removeEventListener('abort', stop);
        await reader.stop();
      }
    },
  };
}
