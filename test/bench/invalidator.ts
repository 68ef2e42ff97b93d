// From a commit in Postgres to the record in Kafka: latency under load, rows a second in bulk, memory and CPU time of the
// invalidator. Starts Postgres and Kafka of its own. Times are only worth something on a machine that does nothing else.
import { execFileSync } from 'node:child_process';
import type { Batch } from '@tidemark/proto';
import { startStack } from '../kit/index.ts';
import { Feed } from '../integration/support/feed.ts';
import { writeSteadily } from './support/row-writer.ts';

const HOT_ROWS = 1000;
const BULK_ROWS = 1_000_000;

const rule = (table: string) => ({ source: 'main', invalidate: [{ table: `public.${table}`, keys: ['{id}'] }] });

const stack = await startStack({
  sidecars: 0,
  applier: false,
  redis: false,
  supervise: false,
  initSql: `
    create table hot (id int primary key, n int not null);
    insert into hot select n, 0 from generate_series(1, ${HOT_ROWS}) n;
    create table big (id int primary key, v text);
  `,
  config: { namespaces: { hot: rule('hot'), big: rule('big') } },
});

/** Records as they arrive at a reader, by the wall clock in ms. */
const arrivals: { readonly atMs: number; readonly batch: Batch }[] = [];
const feed = await Feed.open(stack, (batch) =>
  arrivals.push({ atMs: performance.timeOrigin + performance.now(), batch }),
);

/** Resident MiB and CPU seconds of the invalidator. */
function usage(): { readonly mib: number; readonly cpuS: number } {
  const output = execFileSync('ps', ['-o', 'rss=,time=', '-p', `${stack.invalidator.pid}`], { encoding: 'utf8' });
  const [rss = '0', time = '0'] = output.trim().split(/\s+/);
  const cpuS = time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
  return { mib: Math.round(Number(rss) / 1024), cpuS };
}

function quantile(values: readonly number[], q: number): string {
  const value = values.toSorted((a, b) => a - b)[Math.floor(values.length * q)];
  return value === undefined ? '-' : value.toFixed(2);
}

/** Single-row updates, one a transaction, at a steady rate from several clients. */
async function steady(options: {
  readonly perSecond: number;
  readonly seconds: number;
  readonly clients: number;
}): Promise<void> {
  const { perSecond, seconds, clients } = options;
  const begin = arrivals.length;
  const before = usage();
  const transactions = await writeSteadily({
    postgres: stack.postgres,
    perSecond,
    seconds,
    clients,
    write: (connection, turn) => connection.query('update hot set n = n + 1 where id = $1', [1 + (turn % HOT_ROWS)]),
  });
  await feed.catchesUp(stack);
  const records = arrivals.slice(begin).filter(({ batch }) => batch.commits.length > 0);
  const toReader = records.map(({ atMs, batch }) => atMs - batch.committedAtUs / 1000);
  const toSend = records.map(({ batch }) => (batch.publishedAtUs - batch.committedAtUs) / 1000);
  const unseen = records.filter(({ batch }) => batch.visible < batch.to).length;
  const after = usage();
  print(`${perSecond} tx/s`, {
    transactions,
    records: records.length,
    'commit to reader, ms': `p50 ${quantile(toReader, 0.5)} p99 ${quantile(toReader, 0.99)}`,
    'commit to send, ms': `p50 ${quantile(toSend, 0.5)} p99 ${quantile(toSend, 0.99)}`,
    'not visible when sent': unseen,
    'CPU of a core': `${Math.round((100 * (after.cpuS - before.cpuS)) / seconds)} %`,
    'resident MiB': after.mib,
  });
}

async function bulk(name: string, sql: string): Promise<void> {
  const begin = feed.sizes.length;
  const before = usage();
  let peak = before.mib;
  const watch = setInterval(() => {
    peak = Math.max(peak, usage().mib);
  }, 200);
  const startMs = performance.now();
  await stack.sql(sql);
  const committedMs = performance.now();
  await feed.catchesUp(stack, 120_000);
  const publishedMs = performance.now();
  clearInterval(watch);
  print(name, {
    'SQL, s': ((committedMs - startMs) / 1000).toFixed(1),
    'rows/s from the commit on': Math.round(BULK_ROWS / ((publishedMs - committedMs) / 1000)),
    'largest record, bytes': Math.max(...feed.sizes.slice(begin)),
    'CPU, s': (usage().cpuS - before.cpuS).toFixed(1),
    'resident MiB': `${before.mib}, at most ${peak}`,
  });
}

function print(name: string, figures: Readonly<Record<string, string | number>>): void {
  console.log(
    `${name}: ${Object.entries(figures)
      .map(([what, value]) => `${what} ${value}`)
      .join('; ')}`,
  );
}

await steady({ perSecond: 20, seconds: 10, clients: 1 });
await steady({ perSecond: 200, seconds: 10, clients: 4 });
await steady({ perSecond: 1000, seconds: 10, clients: 10 });
await bulk('insert of a million rows', `insert into big select n, 'v' || n from generate_series(1, ${BULK_ROWS}) n`);
await bulk('update of a million rows', `update big set v = v || '.'`);
await bulk('delete of a million rows', 'delete from big');
await feed.stop();
await stack.stop();
