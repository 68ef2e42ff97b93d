import { describe, expect, it } from 'vitest';
import type { Purge, TableBlock } from './batch.ts';
import { compileRules, type RulesInput, rulesHash } from './rules.ts';
import { Cell, Op, TableChangesBuilder } from './table-changes.ts';
import { TemplateError } from './template.ts';
import { sentBy, TO } from './testing/invalidations.ts';

describe('invalidate', () => {
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
      purge({ namespace: 'users', keys: ['1', '2'], tags: ['t'], prefixes: ['by-email:'] }),
      purge({ namespace: 'other', all: true, commit: 2 }),
      purge({ namespace: 'unknown', all: true }),
      purge({ all: true, commit: 7 }),
    ];
    expect(sentBy([users, other], { purges }).sent).toEqual([
      { kind: 'key', namespace: 'users', name: '1', lsn: 120 },
      { kind: 'key', namespace: 'users', name: '2', lsn: 120 },
      { kind: 'tag', namespace: 'users', name: 't', lsn: 120 },
      { kind: 'prefix', namespace: 'users', name: 'by-email:', lsn: 120 },
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

it('[I20] where values of a key differ by caller, a key is a tag that all of them have', () => {
  const input = (varies: boolean): RulesInput => ({
    ...{ name: 'n', source: 'main', varies },
    rules: [{ table: 'public.users', keys: ['{id}'], tags: ['{id}'] }],
    meaning: varies ? { vary: [[], ['x-tenant']] } : undefined,
  });
  const rows = new TableChangesBuilder(['id']);
  rows.add({ op: Op.insert, commit: 0, after: ['7'] });
  const purges = [{ commit: 0, namespace: 'n', keys: ['8'], tags: [], all: false }];
  const told = (varies: boolean): readonly string[] =>
    sentBy([input(varies)], {
      tables: [{ schema: 'public', table: 'users', changes: rows.encode() }],
      purges,
    }).sent.map(({ kind, name }) => `${kind} ${name}`);
  expect(told(false)).toEqual(['key 7', 'tag 7', 'key 8']);
  expect(told(true)).toEqual(['tag key:7', 'tag 7', 'tag key:8']);
  expect(rulesHash(input(true))).not.toBe(rulesHash(input(false)));
});
