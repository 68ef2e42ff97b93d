import { setTimeout as pause } from 'node:timers/promises';
import { createKafka, createLogger, RecordReader } from '@tidemark/runtime';
import { startKafka, startStack } from '../kit/index.ts';
import { Crowd } from './support/crowd.ts';
import { quantile } from './support/load.ts';
import { costOf } from './support/process-cost.ts';
import { rowsRule, rowsSql, writeRows } from './support/row-writer.ts';

/*
 * What many sidecars cost one broker: its CPU time by the number of those who read, at several rates of commits, with real
 * sidecars first and then with readers alone (what a sidecar is to Kafka). The delay from send to receipt is that of one
 * more reader; where the readers themselves fill the machine it tells of the machine, not of the broker.
 *
 *   node test/bench/sidecar-crowd.ts [seconds a window] [readers, ...]
 */

const [secondsText = '10', ...countTexts] = process.argv.slice(2);
const seconds = Number(secondsText);
const counts = countTexts.length === 0 ? [100, 300, 1000] : countTexts.map(Number);
const SIDECARS = [10, 30];
const RATES = [0, 20, 100];
/** TIDEMARK_FETCH_INTERVAL, to see what it saves. */
const SPARING_MS = 100;
/** More than so many deliveries a second fill two cores with the readers alone. */
const MAX_DELIVERIES = 30_000;

const kafka = await startKafka();
const stack = await startStack({
  sidecars: 0,
  applier: false,
  redis: false,
  supervise: false,
  servers: { started: { kafka } },
  initSql: rowsSql,
  config: { namespaces: { user: rowsRule } },
});

const newCrowd = (fetchIntervalMs: number): Crowd =>
  new Crowd({ brokers: kafka.brokers, topic: stack.topic, fetchIntervalMs });
let crowd = newCrowd(0);

const delays: number[] = [];
const logger = createLogger({ service: 'bench', instance: 'observer', level: 'silent' });
const observer = new RecordReader({
  kafka: createKafka({ brokers: kafka.brokers, tls: false, clientId: 'bench-observer', logger }),
  topic: stack.topic,
  start: { from: 'newest-record' },
  logger,
  onRecords: ({ records }) => {
    for (const { timestampMs } of records) delays.push(Date.now() - timestampMs);
  },
  onReset: () => undefined,
});

async function measure(name: string, readers: number): Promise<void> {
  for (const perSecond of RATES) {
    if (readers * perSecond > MAX_DELIVERIES) continue;
    delays.length = 0;
    const [before, received, startMs] = [costOf(kafka.pid).cpuS, await crowd.received(), performance.now()];
    if (perSecond === 0) await pause(seconds * 1000);
    else await writeRows({ postgres: stack.postgres, perSecond, seconds });
    const [after, now, tookS] = [costOf(kafka.pid), await crowd.received(), (performance.now() - startMs) / 1000];
    const fetches = (now.fetches - received.fetches) / tookS;
    console.log(
      [
        `${name}, ${perSecond} commits/s:`.padEnd(44),
        `broker ${(((after.cpuS - before) / tookS) * 100).toFixed(1)} % of a core, ${after.residentMb.toFixed(0)} MB;`,
        now.connected === 0
          ? ''
          : `readers ${now.connected}, ${fetches.toFixed(0)} fetches/s, ${((now.records - received.records) / tookS).toFixed(0)} records/s;`,
        `delay p50 ${quantile(delays, 0.5)} p99 ${quantile(delays, 0.99)} ms`,
      ].join(' '),
    );
  }
}

/** The broker compiles what it does often. */
await writeRows({ postgres: stack.postgres, perSecond: 200, seconds });
await measure('nobody', 0);
for (const count of SIDECARS) {
  while (stack.sidecars.length < count) await stack.addSidecar();
  await pause(3000);
  await measure(`${count} sidecars`, count);
}
for (const sidecar of stack.sidecars) await sidecar.stop();
for (const count of counts) {
  await crowd.growTo(count);
  await pause(3000);
  await measure(`${count} readers`, count);
}
await crowd.stop();
crowd = newCrowd(SPARING_MS);
for (const count of counts) {
  await crowd.growTo(count);
  await pause(3000);
  await measure(`${count} readers, every ${SPARING_MS} ms`, count);
}
await observer.stop();
await crowd.stop();
await stack.stop();
await kafka.stop();
