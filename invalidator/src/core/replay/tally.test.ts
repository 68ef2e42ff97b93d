import { compileRules, encodeBatch, Op, TableChangesBuilder, type RulesInput } from '@tidemark/proto';
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
      ...{ keys: 9, tags: 6, falls: 1 },
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
