// What the protocol's pure code costs on one core, by CPU time, so that other load on the machine does not count.
// Run: node test/bench/rules.ts [part of a name]
import {
  type Batch,
  Cell,
  compileRules,
  crc32,
  decodeBatch,
  decodeEntry,
  encodeBatch,
  encodeEntry,
  type Entry,
  Fences,
  FenceTable,
  type InvalidationSink,
  invalidate,
  Op,
  type RulesInput,
  TableChangesBuilder,
} from '@tidemark/proto';

interface Measurement {
  readonly name: string;
  /** What `run` returns the number of. */
  readonly unit: string;
  readonly run: () => number;
}

const RULES: readonly RulesInput[] = [
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
const rules = compileRules(RULES);
const columnsOf = (table: string): readonly string[] => rules.columns.get(table) ?? ['id'];

/** Half updates of users that change the e-mail address, half inserts of orders; ten commits. */
function batchOf(rows: number, tables: readonly [string, string] = ['users', 'orders']): Batch {
  const users = new TableChangesBuilder(columnsOf('public.users'));
  const orders = new TableChangesBuilder(columnsOf('public.orders'));
  for (let i = 0; i < rows / 2; i++) {
    const [id, email] = [`${100_000 + i}`, `user${i}@example.com`];
    users.add({ op: Op.update, commit: i % 10, before: [`old-${email}`, Cell.same], after: [email, id] });
    orders.add({ op: Op.insert, commit: i % 10, after: [`${5_000_000 + i}`, `${i % 100}`, id] });
  }
  const [first, second] = tables;
  return {
    source: 'main',
    epoch: 1,
    from: 1_000_000,
    to: 1_010_000,
    visible: 1_010_000,
    committedAtUs: 1.7e15,
    publishedAtUs: 1.7e15,
    systemId: 7n,
    timeline: 1,
    heartbeat: rows === 0,
    covers: rules.namespaces.map(({ hash }) => hash),
    commits: rows === 0 ? [] : Array.from({ length: 10 }, (_, i) => 1_001_000 + i),
    tables:
      rows === 0
        ? []
        : [
            { schema: 'public', table: first, changes: users.encode() },
            { schema: 'public', table: second, changes: orders.encode() },
          ],
    purges: [],
  };
}

const fences = new Fences({ namespaces: rules.namespaces.length });
const sink: InvalidationSink = {
  key: (namespace, key, lsn) => fences.raiseKey(namespace.index, key, lsn),
  tag: (namespace, tag, lsn) => fences.raiseTag(namespace.index, tag, lsn),
  prefix: (namespace, prefix, lsn) => fences.raisePrefix(namespace.index, prefix, lsn),
  namespace: (namespace, lsn) => fences.raiseNamespace(namespace.index, lsn),
};

function applying(rows: number, tables?: readonly [string, string]): Measurement['run'] {
  const record = encodeBatch(batchOf(rows, tables));
  return () => {
    const decoded = decodeBatch(record);
    if (decoded.kind === 'batch') invalidate(rules, decoded.batch, sink);
    return Math.max(rows, 1);
  };
}

function writing(rows: number): Measurement['run'] {
  return () => {
    encodeBatch(batchOf(rows));
    return rows;
  };
}

const names = Array.from({ length: 4096 }, (_, i) => `by-email:user${i}@example.com`);
const table = new FenceTable(2 ** 18);
const entry: Entry = {
  asOf: 1_000_000,
  epoch: 1,
  storedAtMs: 1.7e12,
  freshUntilMs: 1.7e12,
  expiresAtMs: 1.7e12,
  keepUntilMs: 1.7e12,
  loadMs: 0,
  absent: false,
  contentType: 'application/json',
  etag: '"5d41402abc4b2a76"',
  tags: ['user:1'],
  body: new Uint8Array(1024).map((_, i) => i),
};
const envelope = encodeEntry(entry);

const measurements: readonly Measurement[] = [
  { name: 'read a record of 3,000 rows and raise its fences', unit: 'rows', run: applying(3000) },
  { name: 'the same of 300 rows', unit: 'rows', run: applying(300) },
  { name: 'the same of 2 rows', unit: 'rows', run: applying(2) },
  { name: 'read a record of 3,000 rows that no rule names', unit: 'rows', run: applying(3000, ['a', 'b']) },
  { name: 'read a heartbeat', unit: 'records', run: applying(0) },
  { name: 'write a record of 300 rows', unit: 'rows', run: writing(300) },
  {
    name: 'raise a fence in the table',
    unit: 'names',
    run: () => {
      for (let i = 0; i < names.length; i++) table.raise(i & 3, names[i] as string, i);
      return names.length;
    },
  },
  {
    name: 'ask the table for a fence',
    unit: 'names',
    run: () => {
      let newest = 0;
      for (let i = 0; i < names.length; i++) newest += table.newest(i & 3, names[i] as string);
      return newest < 0 ? 0 : names.length;
    },
  },
  { name: 'write an envelope of 1 KiB', unit: 'entries', run: () => encodeEntry(entry).length && 1 },
  { name: 'read an envelope of 1 KiB', unit: 'entries', run: () => (decodeEntry(envelope) === undefined ? 0 : 1) },
  { name: 'CRC-32 of 1 KiB', unit: 'KiB', run: () => (crc32(entry.body) === 0 ? 0 : 1) },
];

/** CPU seconds of this process. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Units a CPU second, the median of five. */
function rateOf(run: () => number): number {
  const rates = Array.from({ length: 6 }, () => {
    const startedAt = cpuSeconds();
    let done = 0;
    do {
      for (let i = 0; i < 50; i++) done += run();
    } while (cpuSeconds() - startedAt < 0.3);
    return done / (cpuSeconds() - startedAt);
  });
  // The first warms the compiler up.
  return rates.slice(1).toSorted((a, b) => a - b)[2] ?? 0;
}

const wanted = process.argv[2] ?? '';
for (const { name, unit, run } of measurements.filter((one) => one.name.includes(wanted))) {
  const rate = rateOf(run);
  const each = rate >= 1e6 ? `${(1e9 / rate).toFixed(0)} ns` : `${(1e6 / rate).toFixed(2)} µs`;
  console.log(`${name.padEnd(50)} ${Math.round(rate).toLocaleString('en').padStart(12)} ${unit}/s  ${each} each`);
}
