import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TableBlock } from './batch.ts';
import { type RulesInput, rulesHash } from './rules.ts';
import { Op, TableChangesBuilder } from './table-changes.ts';
import { changeOf, fewNames, type FullRow, type TrueChange } from './testing/arbitraries.ts';
import { COMMITS, sentBy, TO } from './testing/invalidations.ts';

// Random rules and random changes of random rows, written down as a publisher that did not learn everything may have done,
// against an oracle that knows both rows in full.

const COLUMNS = ['a', 'b', 'c'] as const;
const TABLES = ['s.t', 's.u'] as const;

/** A template as its parts, so that the oracle need not parse. */
type Parts = readonly (string | { column: string })[];
const parts: fc.Arbitrary<Parts> = fc.array(
  fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom(':', 'x', '{', '}') },
    { weight: 2, arbitrary: fc.constantFrom(...COLUMNS).map((column) => ({ column })) },
  ),
  { minLength: 1, maxLength: 4 },
);
const templateOf = (template: Parts): string =>
  template
    .map((part) => (typeof part === 'string' ? part.replace('{', '{{').replace('}', '}}') : `{${part.column}}`))
    .join('');
const nameOf = (template: Parts, row: FullRow): string =>
  template.map((part) => (typeof part === 'string' ? part : (row[COLUMNS.indexOf(part.column as 'a')] ?? ''))).join('');

const rule = fc.record({
  table: fc.constantFrom(...TABLES),
  keys: fc.array(parts, { maxLength: 2 }),
  tags: fc.array(parts, { maxLength: 2 }),
});
const namespaces = fc
  .array(fc.array(rule, { maxLength: 3 }), { minLength: 1, maxLength: 3 })
  .map((all) => all.map((rules, i) => ({ name: `n${i}`, rules })));
type TestNamespaces = typeof namespaces extends fc.Arbitrary<infer T> ? T : never;
const inputsOf = (all: TestNamespaces): RulesInput[] =>
  all.map(({ name, rules }) => ({
    name,
    source: 'main',
    rules: rules.map(({ table, keys, tags }) => ({ table, keys: keys.map(templateOf), tags: tags.map(templateOf) })),
  }));

const value = fc.option(fewNames, { nil: null, freq: 4 });
const change = changeOf({ width: COLUMNS.length, commits: COMMITS.length, value });
/** Which columns the publisher sends, in which order: rules may have changed since it was started. */
const sentColumns = fc.shuffledSubarray([...COLUMNS, 'other'], { minLength: 0 });
const blocks = fc.array(
  fc.record({
    table: fc.constantFrom(...TABLES, 's.unruled'),
    sentColumns,
    changes: fc.array(change, { maxLength: 6 }),
  }),
  { maxLength: 3 },
);
type TestBlock = typeof blocks extends fc.Arbitrary<readonly (infer T)[]> ? T : never;

function encodeBlock({ table, sentColumns: columns, changes }: TestBlock): TableBlock {
  const builder = new TableChangesBuilder(columns);
  for (const { written } of changes) {
    const cut = (row: typeof written.before) =>
      columns.map((column) => (column === 'other' ? 'noise' : (row?.[COLUMNS.indexOf(column as 'a')] ?? null)));
    builder.add({
      op: written.op,
      commit: written.commit,
      ...(written.before && { before: cut(written.before) }),
      ...(written.after && { after: cut(written.after) }),
    });
  }
  const [schema = '', name = ''] = table.split('.');
  return { schema, table: name, changes: builder.encode() };
}

/** Every name that a change touches, by an oracle that knows both rows: what must be fenced, and where. */
function* touched(all: TestNamespaces, table: string, { op, commit, before, after }: TrueChange) {
  for (const { name: namespace, rules } of all) {
    for (const { keys, tags } of rules.filter((one) => one.table === table)) {
      for (const [kind, templates] of [
        ['key', keys],
        ['tag', tags],
      ] as const) {
        for (const template of templates) {
          const lsn = COMMITS[commit] ?? TO;
          if (op === Op.wholeTable)
            yield { kind, namespace, name: undefined, constant: nameOf(template, []), template, lsn };
          for (const row of [before, after]) {
            if (row !== undefined) yield { kind, namespace, name: nameOf(template, row), constant: '', template, lsn };
          }
        }
      }
    }
  }
}

const usesColumns = (template: Parts): boolean => template.some((part) => typeof part !== 'string');

describe('invalidate', () => {
  it('[I8] never a hole: whatever the publisher could not send, everything that a change touches is fenced at its commit', () => {
    fc.assert(
      fc.property(namespaces, blocks, (all, sentBlocks) => {
        const { sent } = sentBy(inputsOf(all), { tables: sentBlocks.map(encodeBlock) });
        const fencedWhole = (namespace: string, lsn: number) =>
          sent.some((one) => one.kind === 'namespace' && one.namespace === namespace && one.lsn >= lsn);
        for (const { table, changes } of sentBlocks) {
          for (const { truth } of changes) {
            for (const { kind, namespace, name, constant, template, lsn } of touched(all, table, truth)) {
              const wanted = name ?? (usesColumns(template) ? undefined : constant);
              const named = sent.some(
                (one) => one.kind === kind && one.namespace === namespace && one.name === wanted && one.lsn === lsn,
              );
              expect(named || fencedWhole(namespace, lsn)).toBe(true);
            }
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('[I8] no needless key or tag: what is named was touched, and a namespace falls only for a value that nobody sent', () => {
    fc.assert(
      fc.property(namespaces, blocks, (all, sentBlocks) => {
        const { sent } = sentBy(inputsOf(all), { tables: sentBlocks.map(encodeBlock) });
        const wanted = sentBlocks.flatMap(({ table, changes }) =>
          changes.flatMap(({ truth }) => [...touched(all, table, truth)]),
        );
        for (const { kind, namespace, name, lsn } of sent) {
          if (kind === 'namespace') continue;
          const reason = wanted.some(
            (one) =>
              one.kind === kind &&
              one.namespace === namespace &&
              one.lsn === lsn &&
              (one.name ?? one.constant) === name,
          );
          expect(reason).toBe(true);
        }
        const allKnown = sentBlocks.every(
          ({ sentColumns: columns, changes }) =>
            COLUMNS.every((column) => columns.includes(column)) &&
            changes.every(
              ({ written: { op, before = [], after = [] } }) =>
                op !== Op.wholeTable && ![...before, ...after].some((cell) => typeof cell === 'number'),
            ),
        );
        if (allKnown) expect(sent.filter(({ kind }) => kind === 'namespace')).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });
});

it('[I8] the hash differs as soon as a namespace, its source or its rules do', () => {
  fc.assert(
    fc.property(namespaces, namespaces, (one, two) => {
      for (const a of inputsOf(one)) {
        for (const b of inputsOf(two)) {
          const same = JSON.stringify(a) === JSON.stringify(b);
          expect(rulesHash(a) === rulesHash(b)).toBe(same);
        }
      }
    }),
  );
});
