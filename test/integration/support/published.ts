import { decodeConfigRecord, type ConfigRecord } from '@tidemark/proto';
import { createKafka, createLogger, RecordReader } from '@tidemark/runtime';

/** All documents of a configuration topic, in the order in which they were written. */
export class PublishedConfigs {
  readonly records: ConfigRecord[] = [];
  readonly #reader: RecordReader;

  /** Begins to read; the topic need not exist yet. `onRecord` is told of each as it arrives. */
  constructor(
    options: { readonly brokers: readonly string[]; readonly topic: string },
    onRecord?: (record: ConfigRecord) => void,
  ) {
    const logger = createLogger({ service: 'test', instance: 'configs', level: 'silent' });
    this.#reader = new RecordReader({
      kafka: createKafka({ brokers: options.brokers, tls: false, clientId: 'test-configs', logger }),
      topic: options.topic,
      start: { from: 'offset', offset: 0 },
      logger,
      onRecords: ({ records }) => {
        for (const { value } of records) {
          const decoded = decodeConfigRecord(value);
          if (!decoded.ok) throw new Error(decoded.why);
          this.records.push(decoded.record);
          onRecord?.(decoded.record);
        }
      },
      onReset: () => undefined,
    });
  }

  get last(): ConfigRecord {
    const record = this.records.at(-1);
    if (record === undefined) throw new Error('nothing is published yet');
    return record;
  }

  stop(): Promise<void> {
    return this.#reader.stop();
  }
}
