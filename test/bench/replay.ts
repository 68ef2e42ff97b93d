// What replaying a capture costs on one core, by CPU time, so that other load on the machine does not count; beside the
// limit in the same run: only reading the file and checking its checksums.
// Run: node test/bench/replay.ts
import { rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { Cell, compileRules, encodeBatch, Op, TableChangesBuilder, type RulesInput } from '@tidemark/proto';
import { openCapture, openCaptureWriter } from '../../invalidator/src/adapters/capture-file.ts';
import { textWriter } from '../../invalidator/src/adapters/text-writer.ts';
import { Replay, type ReplayOutput } from '../../invalidator/src/core/replay/engine.ts';
import { NdjsonOutput } from '../../invalidator/src/core/replay/ndjson.ts';
import type { Range } from '../../invalidator/src/core/replay/range.ts';
import { Tally } from '../../invalidator/src/core/replay/tally.ts';

const RECORDS = 700;
const ROWS = 3000;
const ROUNDS = 5;

const inputs: readonly RulesInput[] = [
  {
    name: 'user-profile',
    source: 'main',
    rules: [
      { table: 'public.users', keys: ['{id}', 'by-email:{email}'], tags: [] },
      { table: 'public.orders', keys: [], tags: ['user:{user_id}'] },
    ],
  },
  { name: 'order', source: 'main', rules: [{ table: 'public.orders', keys: ['{id}'], tags: ['shop:{shop_id}'] }] },
];
const rules = compileRules(inputs);
const configs = new Map(inputs.map(({ name, rules: config }) => [name, config]));
const range: Range = { from: { kind: 'any' }, to: { kind: 'open' } };

/** Half updates of users that change the e-mail address, half inserts of orders; as many names as a busy week has. */
function recordAt(offset: number): Uint8Array {
  const users = new TableChangesBuilder(rules.columns.get('public.users') ?? []);
  const orders = new TableChangesBuilder(rules.columns.get('public.orders') ?? []);
  for (let i = 0; i < ROWS / 2; i++) {
    const user = (offset * 7919 + i * 104_729) % 300_000;
    const [id, email] = [`${user}`, `user${user}@example.com`];
    users.add({ op: Op.update, commit: i % 10, before: [`old-${email}`, Cell.same], after: [email, id] });
    orders.add({ op: Op.insert, commit: i % 10, after: [`${offset * ROWS + i}`, `${i % 100}`, id] });
  }
  const from = 1_000_000 + offset * 10_000;
  return encodeBatch({
    ...{ source: 'main', epoch: 1, from, to: from + 10_000, visible: from + 10_000, heartbeat: false },
    ...{ committedAtUs: 1.7e15, publishedAtUs: 1.7e15, systemId: 7n, timeline: 1, purges: [] },
    covers: rules.namespaces.map(({ hash }) => hash),
    commits: Array.from({ length: 10 }, (_, i) => from + 1000 * (i + 1)),
    tables: [
      { schema: 'public', table: 'users', changes: users.encode() },
      { schema: 'public', table: 'orders', changes: orders.encode() },
    ],
  });
}

/** CPU seconds of this process. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

const file = join(tmpdir(), `tidemark-bench-${process.pid}.bin`);
process.on('exit', () => rmSync(file, { force: true }));
const writer = await openCaptureWriter(file, {
  header: {
    ...{ source: 'main', topic: 'bench', range, asked: { from: 'earliest', to: 'latest' } },
    ...{ fromOffset: 0, endOffset: RECORDS, newestEpoch: 1, capturedAtMs: 1.7e12 },
  },
});
for (let offset = 0; offset < RECORDS; offset++)
  await writer.write([{ offset, timestampMs: 1.7e12, value: recordAt(offset) }]);
await writer.finish();

const nothing: ReplayOutput = {
  key: () => undefined,
  tag: () => undefined,
  prefix: () => undefined,
  namespace: () => undefined,
};
const lines = textWriter(new Writable({ write: (_chunk, _encoding, done) => done() }));

/** Row changes a CPU second for the file as a whole, and the most memory while at it, MiB. */
async function rateOf(output: (() => ReplayOutput) | undefined): Promise<number> {
  const startedAt = cpuSeconds();
  const { stream } = await openCapture(file);
  const replay = output && new Replay({ rules, range, output: output() });
  await stream.read(async (records) => {
    if (replay !== undefined) {
      for (const record of records) {
        replay.take(record);
        if (lines.pending > 512 * 1024) await lines.flush();
      }
    }
    return true;
  }, new AbortController().signal);
  await lines.flush();
  return (RECORDS * ROWS) / (cpuSeconds() - startedAt);
}

const measurements = [
  ['the limit: read the file and check its checksums', undefined],
  ['through the rules engine', () => nothing],
  ['with the counts of the table', () => new Tally({ rules, configs })],
  ['as lines of JSON', () => new NdjsonOutput((line) => lines.write(line))],
] as const;
console.log(
  `${(RECORDS * ROWS).toLocaleString('en')} row changes in ${RECORDS} records, ${(statSync(file).size / 2 ** 20).toFixed(0)} MiB; wanted: 500,000 row changes a second through the rules engine`,
);
let limit = 0;
for (const [name, output] of measurements) {
  const rates: number[] = [];
  // The first warms the compiler up.
  for (let round = 0; round <= ROUNDS; round++) rates.push(await rateOf(output));
  const rate = rates.slice(1).toSorted((a, b) => a - b)[ROUNDS >> 1] ?? 0;
  if (limit === 0) limit = rate;
  console.log(
    `${name.padEnd(50)} ${Math.round(rate).toLocaleString('en').padStart(12)} row changes/s  ${((100 * rate) / limit).toFixed(1).padStart(5)} % of the limit  ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB`,
  );
}
