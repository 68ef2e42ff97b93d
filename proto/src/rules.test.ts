import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Batch, Purge, TableBlock } from './batch.ts';
import { compileRules, invalidate, type NamespaceRules, type RulesInput, rulesHash } from './rules.ts';
import { Cell, Op, TableChangesBuilder } from './table-changes.ts';
import { TemplateError } from './template.ts';
import { changeOf, fewNames, type FullRow, type TrueChange } from './testing/arbitraries.ts';

const COLUMNS = ['a', 'b', 'c'] as const;
const TABLES = ['s.t', 's.u'] as const;
const TO = 1000;
const COMMITS = [110, 120, 130];

type Sent = readonly { kind: 'key' | 'tag' | 'namespace'; namespace: string; name: string; lsn: number }[];

function sentBy(rules: readonly RulesInput[], content: Partial<Batch>): { sent: Sent; unreadable: number } {
  const sent: Sent[number][] = [];
  const put = (kind: 'key' | 'tag') => (namespace: NamespaceRules, name: string, lsn: number) => {
    sent.push({ kind, namespace: namespace.name, name, lsn });
  };
  const sink = {
    key: put('key'),
    tag: put('tag'),
    namespace: (namespace: NamespaceRules, lsn: number) => {
      sent.push({ kind: 'namespace', namespace: namespace.name, name: '', lsn });
    },
  };
  const { unreadable } = invalidate(compileRules(rules), batchOf(content), sink);
  return { sent, unreadable };
}

function batchOf(content: Partial<Batch>): Batch {
  return {
    source: 'main',
    epoch: 1,
    from: 100,
    to: TO,
    visible: TO,
    committedAtUs: 0,
    publishedAtUs: 0,
    systemId: 0n,
    timeline: 1,
    heartbeat: false,
    covers: [],
    commits: COMMITS,
    tables: [],
    purges: [],
    ...content,
  };
}

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

  const users: RulesInput = {
    name: 'users',
    source: 'main',
    rules: [{ table: 'public.users', keys: ['{id}', 'by-email:{email}'], tags: ['team:{team}'] }],
  };
  const block = (columns: string[], ...changes: Parameters<TableChangesBuilder['add']>[0][]): TableBlock => {
    const builder = new TableChangesBuilder(columns);
    for (const one of changes) builder.add(one);
    return { schema: 'public', table: 'users', changes: builder.encode() };
  };
  const columns = ['email', 'id', 'team'];

  it('[I8] the old row and the new row both count', () => {
    const tables = [
      block(columns, { op: Op.update, commit: 1, before: ['old@x', '1', 'red'], after: ['new@x', '1', null] }),
    ];
    expect(sentBy([users], { tables }).sent).toEqual([
      { kind: 'key', namespace: 'users', name: '1', lsn: 120 },
      { kind: 'key', namespace: 'users', name: 'by-email:old@x', lsn: 120 },
      { kind: 'key', namespace: 'users', name: 'by-email:new@x', lsn: 120 },
      { kind: 'tag', namespace: 'users', name: 'team:red', lsn: 120 },
      { kind: 'tag', namespace: 'users', name: 'team:', lsn: 120 },
    ]);
  });

  it.each([
    ['a value that is unknown', columns, { op: Op.delete, commit: 0, before: [Cell.absent, '1', 'red'] }],
    ['a column that the record does not have', ['id', 'team'], { op: Op.insert, commit: 0, after: ['1', 'red'] }],
    [
      'an unchanged value that was not sent',
      columns,
      { op: Op.update, commit: 0, before: [Cell.absent, '1', 'red'], after: [Cell.unchanged, '1', 'red'] },
    ],
    ['every row of the table', columns, { op: Op.wholeTable, commit: 0 }],
  ] as const)('[I8] [I13] %s fences the namespace', (_, sentNames, one) => {
    const { sent } = sentBy([users], { tables: [block([...sentNames], one)] });
    expect(sent).toContainEqual({ kind: 'namespace', namespace: 'users', name: '', lsn: 110 });
  });

  it('[I13] a namespace is fenced once a block, at the newest of its positions', () => {
    const rows = [2, 0, 1].map((commit) => ({ op: Op.insert, commit, after: [Cell.absent, Cell.absent, Cell.absent] }));
    const { sent } = sentBy([users], { tables: [block(columns, ...rows)] });
    expect(sent).toEqual([{ kind: 'namespace', namespace: 'users', name: '', lsn: 130 }]);
  });

  it('every row of the table still names the one thing that a template without columns names', () => {
    const rules = [{ name: 'lists', source: 'main', rules: [{ table: 'public.users', keys: ['all'], tags: [] }] }];
    const { sent } = sentBy(rules, { tables: [block([], { op: Op.wholeTable, commit: 2 })] });
    expect(sent).toEqual([{ kind: 'key', namespace: 'lists', name: 'all', lsn: 130 }]);
  });

  it('[I1] a block that cannot be read fences, at the end of the record, every namespace with a rule on its table, and no other', () => {
    const other: RulesInput = {
      name: 'other',
      source: 'main',
      rules: [{ table: 'public.other', keys: ['{id}'], tags: [] }],
    };
    const twice: RulesInput = { ...users, name: 'twice', rules: [...users.rules, ...users.rules] };
    const good = block(columns, { op: Op.insert, commit: 0, after: ['e', '1', 't'] });
    // Well-formed as protobuf, but its last row lacks a cell.
    const torn = { ...good, changes: good.changes.slice(0, -1) };
    for (const changes of [torn.changes, Uint8Array.of(0xff), good.changes.subarray(1)]) {
      const { sent, unreadable } = sentBy([users, twice, other], { tables: [{ ...good, changes }, good] });
      expect(unreadable).toBe(1);
      expect(sent.filter(({ kind }) => kind === 'namespace')).toEqual([
        { kind: 'namespace', namespace: 'users', name: '', lsn: TO },
        { kind: 'namespace', namespace: 'twice', name: '', lsn: TO },
      ]);
      // The block after it was read.
      expect(sent).toContainEqual({ kind: 'key', namespace: 'users', name: '1', lsn: 110 });
    }
  });

  it('a block of a table without a rule is not even decoded', () => {
    const tables = [{ schema: 'public', table: 'unruled', changes: Uint8Array.of(0xff) }];
    expect(sentBy([users], { tables })).toEqual({ sent: [], unreadable: 0 });
  });

  it('a commit index that points nowhere is the end of the record', () => {
    const tables = [block(columns, { op: Op.insert, commit: 99, after: ['e', '1', 't'] })];
    expect(new Set(sentBy([users], { tables }).sent.map(({ lsn }) => lsn))).toEqual(new Set([TO]));
  });

  const purge = (content: Partial<Purge>): Purge => ({
    commit: 1,
    namespace: '',
    keys: [],
    tags: [],
    all: false,
    ...content,
  });

  it('[I11] a purge of names or of all reaches its namespace; one without a namespace reaches each', () => {
    const other: RulesInput = { name: 'other', source: 'main', rules: [] };
    const purges = [
      purge({ namespace: 'users', keys: ['1', '2'], tags: ['t'] }),
      purge({ namespace: 'other', all: true, commit: 2 }),
      purge({ namespace: 'unknown', all: true }),
      purge({ all: true, commit: 7 }),
    ];
    expect(sentBy([users, other], { purges }).sent).toEqual([
      { kind: 'key', namespace: 'users', name: '1', lsn: 120 },
      { kind: 'key', namespace: 'users', name: '2', lsn: 120 },
      { kind: 'tag', namespace: 'users', name: 't', lsn: 120 },
      { kind: 'namespace', namespace: 'other', name: '', lsn: 130 },
      { kind: 'namespace', namespace: 'users', name: '', lsn: TO },
      { kind: 'namespace', namespace: 'other', name: '', lsn: TO },
    ]);
  });
});

describe('compileRules', () => {
  it('lists the columns that leave Postgres: those that rules use, once and sorted', () => {
    const rules = compileRules([
      { name: 'x', source: 'main', rules: [{ table: 's.t', keys: ['{c}:{a}'], tags: ['{b}', '{a}'] }] },
      {
        name: 'y',
        source: 'main',
        rules: [
          { table: 's.t', keys: ['{d}'], tags: [] },
          { table: 's.u', keys: ['all'], tags: [] },
        ],
      },
    ]);
    expect([...rules.columns]).toEqual([
      ['s.t', ['a', 'b', 'c', 'd']],
      ['s.u', []],
    ]);
    expect(rules.namespaces.map(({ index, name }) => [index, name])).toEqual([
      [0, 'x'],
      [1, 'y'],
    ]);
    expect(rules.byName.get('y')).toBe(rules.namespaces[1]);
    expect(rules.namespaces[0]?.hashHex).toBe(rules.namespaces[0]?.hash.toString(16).padStart(16, '0'));
  });

  it('refuses a malformed template', () => {
    const malformed = [{ name: 'x', source: 'main', rules: [{ table: 's.t', keys: ['{'], tags: [] }] }];
    expect(() => compileRules(malformed)).toThrow(TemplateError);
  });
});

describe('rulesHash', () => {
  it('[I8] differs as soon as anything differs that decides what is evicted', () => {
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
    const base: RulesInput = { name: 'n', source: 's', rules: [{ table: 't.t', keys: ['{a}'], tags: [] }] };
    const others: RulesInput[] = [
      { ...base, name: 'm' },
      { ...base, source: 'r' },
      { ...base, rules: [{ table: 't.t', keys: [], tags: ['{a}'] }] },
      { ...base, rules: [...base.rules, ...base.rules] },
    ];
    expect(new Set([base, ...others].map(rulesHash)).size).toBe(5);
  });
});
