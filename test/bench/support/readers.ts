// A process with many record readers in it: what a crowd of sidecars is to Kafka, without the sidecars.
// node test/bench/support/readers.ts BROKERS TOPIC COUNT [INTERVAL]; sends its parent 'ready', and its figures whenever it is asked.
import { createKafka, createLogger, RecordReader } from '@tidemark/runtime';

const [brokers = '', topic = '', count = '0', interval = '0'] = process.argv.slice(2);
const logger = createLogger({ service: 'bench', instance: 'readers', level: 'silent' });
const kafka = createKafka({ brokers: brokers.split(','), tls: false, clientId: 'bench-readers', logger });
let fetches = 0;
let records = 0;
let bytes = 0;
const readers: RecordReader[] = [];
const connected = new Set<number>();

for (let n = 0; n < Number(count); n++) {
  const ready = new Promise<void>((resolve) => {
    const reader = new RecordReader({
      kafka,
      topic,
      start: { from: 'newest-record' },
      logger,
      fetchIntervalMs: Number(interval),
      onRecords: (delivery) => {
        fetches += 1;
        records += delivery.records.length;
        for (const { value } of delivery.records) bytes += value.length;
      },
      onReset: () => undefined,
      onConnection: (isConnected) => {
        if (isConnected) connected.add(n);
        else connected.delete(n);
        resolve();
      },
    });
    readers.push(reader);
  });
  // In turn, a few at a time: a thousand at once would find the broker's queue of new connections full.
  if (n % 20 === 19) await ready;
}
process.on('message', () => process.send?.({ fetches, records, bytes, connected: connected.size }));
process.on('disconnect', () => process.exit());
process.send?.('ready');
