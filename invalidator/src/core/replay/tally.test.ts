import { Cell, compileRules, encodeBatch, Op, TableChangesBuilder, type RulesInput } from '@tidemark/proto';
import { expect, it } from 'vitest';
import { compareTallies } from './compare.ts';
import { Replay } from './engine.ts';
import { Tally } from './tally.ts';

const table = 'public.users';
const input = (keys: string[], tags: string[] = []): RulesInput[] => [
  { name: 'user', source: 'main', rules: [{ table, keys, tags }] },
];

/** Two records: the rules of the second one named a column more. */
function tallyOf(inputs: RulesInput[], maxNames?: number): Tally {
  const rules = compileRules(inputs);
  const configs = new Map(inputs.map(({ name, rules: config }) => [name, config]));
  const tally = new Tally({ rules, configs, ...(maxNames !== undefined && { maxNames }) });
  const replay = new Replay({ rules, range: { from: { kind: 'any' }, to: { kind: 'open' } }, output: tally });
  for (const [offset, columns] of [['id'], ['id', 'email']].entries()) {
    const rows = new TableChangesBuilder(columns);
    for (let i = 0; i < 3; i++) rows.add({ op: Op.insert, commit: 0, after: columns.map((column) => `${column}${i}`) });
    const value = encodeBatch({
      ...{ source: 'main', epoch: 1, from: offset * 10, to: offset * 10 + 10, visible: 0, heartbeat: false },
      ...{ committedAtUs: 0, publishedAtUs: 0, systemId: 1n, timeline: 1, commits: [offset * 10 + 5], purges: [] },
      covers: rules.namespaces.map(({ hash }) => hash),
      tables: [{ schema: 'public', table: 'users', changes: rows.encode() }],
    });
    replay.take({ offset, timestampMs: 0, value });
  }
  return tally;
}

it('counts names and why a namespace falls, and tells which columns the records lack', () => {
  expect(tallyOf(input(['{id}', 'mail:{email}'], ['all'])).sums()).toEqual([
    {
      ...{ namespace: 'user', rulesHash: expect.stringMatching(/^[0-9a-f]{16}$/), served: 'all' },
      ...{ keys: 9, tags: 6, prefixes: 0, falls: 1 },
      distinctKeys: { count: 6, isCapped: false },
      distinctTags: { count: 1, isCapped: false },
      why: [{ cause: 'missing-column', columns: ['email'], times: 1 }],
      rules: [{ table, changes: 6, missing: [], partlyMissing: ['email'] }],
    },
  ]);
  expect(tallyOf(input(['{phone}'])).sums()[0]?.rules).toEqual([
    { table, changes: 6, missing: ['phone'], partlyMissing: [] },
  ]);
});

it('says "at least" beyond its bound', () => {
  expect(tallyOf(input(['{id}']), 2).sums()[0]?.distinctKeys).toEqual({ count: 2, isCapped: true });
});

it('finds what only one of two sets of rules invalidates', () => {
  const [difference, ...others] = compareTallies(tallyOf(input(['{id}'])), tallyOf(input(['user:{id}', '{id}'])));
  expect(others).toEqual([]);
  expect(difference).toMatchObject({
    onlyBefore: { keys: { count: 0 } },
    onlyAfter: { keys: { count: 3, examples: ['user:id0', 'user:id1', 'user:id2'] } },
  });
  expect(compareTallies(tallyOf(input(['{id}'])), tallyOf(input(['{id}'])))).toEqual([]);
  expect(compareTallies(tallyOf(input(['{id}']), 2), tallyOf(input(['x{id}']), 2))[0]?.onlyAfter.keys).toBeUndefined();
});

it('tells each reason for which a namespace falls', () => {
  const rules = compileRules(input(['{id}']));
  const told: string[] = [];
  const replay = new Replay({
    rules,
    range: { from: { kind: 'any' }, to: { kind: 'open' } },
    output: {
      key: (_namespace, key) => told.push(key),
      tag: () => undefined,
      prefix: () => undefined,
      namespace: (_namespace, lsn, falls, origin) =>
        told.push(
          `${lsn} ${origin.table} ${origin.op} ${falls.map(({ cause, columns }) => `${cause} ${columns.join()}`).join('; ')}`,
        ),
    },
  });
  const rows = new TableChangesBuilder(['id']);
  rows.add({ op: Op.update, commit: 0, before: [Cell.absent], after: ['1'] });
  rows.add({ op: Op.wholeTable, commit: 1 });
  const block = (changes: Uint8Array) => ({ schema: 'public', table: 'users', changes });
  const base = { source: 'main', epoch: 1, visible: 0, heartbeat: false, covers: [] };
  const times = { committedAtUs: 0, publishedAtUs: 0, systemId: 1n, timeline: 1 };
  const all = { namespace: '', keys: [], tags: [], all: true };
  const take = (offset: number, value: Uint8Array): boolean => replay.take({ offset, timestampMs: 0, value });
  const first = { ...base, ...times, from: 0, to: 10, commits: [3, 4], purges: [{ ...all, commit: 1 }] };
  take(0, encodeBatch({ ...first, tables: [block(rows.encode()), block(new Uint8Array([255]))] }));
  take(1, new Uint8Array([1, 2, 3]));
  const nothing = { ...base, ...times, commits: [], purges: [], tables: [] };
  take(2, encodeBatch({ ...nothing, from: 10, to: 20 }));
  take(3, encodeBatch({ ...nothing, from: 25, to: 30 }));
  take(4, encodeBatch({ ...nothing, epoch: 2, from: 5, to: 6 }));
  expect(told).toEqual([
    '4 public.users undefined missing-value id; whole-table ',
    '10 public.users undefined unreadable ',
    '4  undefined purge ',
    '20  undefined unreadable ',
    '30  undefined gap ',
    '6  undefined new-epoch ',
  ]);
  expect(replay.counts).toMatchObject({ records: 5, changes: 2, unreadable: 1, gaps: 1, epochs: 1 });
});
