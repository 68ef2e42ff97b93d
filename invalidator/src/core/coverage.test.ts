import { compileRules } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import type { MemberFacts, PublicationFacts, TableFacts } from './catalog.ts';
import { changedTables, digestsOf, judgeCoverage, provenClaims, tableMarks, type RefusalCode } from './coverage.ts';

const publication: PublicationFacts = {
  identity: '1:7',
  owned: true,
  allTables: false,
  viaRoot: false,
  operations: ['insert', 'update', 'delete', 'truncate'],
};

function member(table: string, more: Partial<MemberFacts> = {}): MemberFacts {
  return {
    oid: 1,
    schema: 'public',
    table,
    kind: 'r',
    logged: true,
    columns: ['id', 'team'],
    types: ['integer', 'text'],
    identityKind: 'd',
    identity: ['id'],
    candidates: [],
    attached: '',
    published: true,
    filtered: false,
    sentColumns: undefined,
    membership: '7',
    ...more,
  };
}

const rules = compileRules([
  { name: 'by-id', source: 'main', rules: [{ table: 'public.t', keys: ['{id}'], tags: [] }] },
  { name: 'by-team', source: 'main', rules: [{ table: 'public.t', keys: [], tags: ['{team}'] }] },
]);

function judge(table: readonly MemberFacts[], facts: PublicationFacts | undefined = publication) {
  const tables: TableFacts[] = [{ name: 'public.t', members: table }];
  const coverage = judgeCoverage({ rules, facts: { publication: facts, tables }, publication: 'pub' });
  return { ...coverage, served: [...coverage.served].map(({ name }) => name) };
}

const withoutPublication = (members: readonly MemberFacts[]) =>
  judgeCoverage({
    rules,
    facts: { publication: undefined, tables: [{ name: 'public.t', members }] },
    publication: 'pub',
  });

describe('a namespace is served', () => {
  it('when every column its rules need is in the old rows; others of the table are refused on their own', () => {
    const { served, refusals, repair } = judge([member('t')]);
    expect(served).toEqual(['by-id']);
    expect(refusals).toEqual([
      {
        namespace: 'by-team',
        table: 'public.t',
        code: 'ReplicaIdentity',
        reason: 'the replica identity of public.t gives old rows without team',
        sql: ['ALTER TABLE public.t REPLICA IDENTITY FULL;'],
      },
    ]);
    expect(repair).toEqual([]);
  });

  it('with REPLICA IDENTITY FULL whatever its rules need', () => {
    expect(judge([member('t', { identityKind: 'f', identity: ['id', 'team'] })])).toMatchObject({
      served: ['by-id', 'by-team'],
      refusals: [],
    });
  });

  it('through a publication of all tables', () => {
    const { served, repair } = judge([member('t')], { ...publication, allTables: true });
    expect(served).toEqual(['by-id']);
    expect(repair).toEqual([]);
  });
});

describe('a namespace is refused, with what mends it', () => {
  it.each<[string, RefusalCode, MemberFacts[], string, string[]]>([
    ['no table', 'TableMissing', [], 'there is no table public.t', []],
    [
      'a system table',
      'NotATable',
      [member('t', { schema: 'pg_catalog' })],
      'public.t is a system table, which cannot be published',
      [],
    ],
    [
      'a view',
      'NotATable',
      [member('t', { kind: 'v' })],
      'public.t is no table, so its changes are not in the WAL',
      [],
    ],
    [
      'an unlogged table',
      'TableUnlogged',
      [member('t', { logged: false })],
      'public.t is unlogged, so its changes are not in the WAL',
      ['ALTER TABLE public.t SET LOGGED;'],
    ],
    ['a missing column', 'ColumnMissing', [member('t', { columns: ['team'] })], 'public.t has no column id', []],
    [
      'no identity at all',
      'ReplicaIdentity',
      [member('t', { identityKind: 'n', identity: [] })],
      'the replica identity of public.t gives no old rows at all',
      ['ALTER TABLE public.t REPLICA IDENTITY FULL;'],
    ],
    [
      'no identity, but an index that would do',
      'ReplicaIdentity',
      [
        member('t', {
          identityKind: 'n',
          identity: [],
          candidates: [
            { index: 'other', columns: ['team'] },
            { index: 'T key', columns: ['id', 'team'] },
          ],
        }),
      ],
      'the replica identity of public.t gives no old rows at all',
      ['ALTER TABLE public.t REPLICA IDENTITY USING INDEX "T key";'],
    ],
    [
      'not published',
      'NotPublished',
      [member('t', { published: false })],
      'publication pub does not have all of public.t',
      ['ALTER PUBLICATION pub ADD TABLE public.t;'],
    ],
    [
      'a row filter',
      'PartlyPublished',
      [member('t', { filtered: true })],
      'publication pub sends only some rows of public.t',
      ['ALTER PUBLICATION pub DROP TABLE public.t;', 'ALTER PUBLICATION pub ADD TABLE public.t;'],
    ],
    [
      'a column list',
      'PartlyPublished',
      [member('t', { sentColumns: ['team'] })],
      'publication pub sends no column id of public.t',
      ['ALTER PUBLICATION pub DROP TABLE public.t;', 'ALTER PUBLICATION pub ADD TABLE public.t;'],
    ],
    [
      'a partition whose identity differs from its root',
      'ReplicaIdentity',
      [member('t', { kind: 'p' }), member('t_1'), member('T 2', { identityKind: 'n', identity: [] })],
      'the replica identity of public."T 2" gives no old rows at all',
      ['ALTER TABLE public."T 2" REPLICA IDENTITY FULL;'],
    ],
    [
      'a partition elsewhere',
      'NotATable',
      [member('t', { kind: 'p' }), member('t_1', { kind: 'f' })],
      'public.t_1 is a foreign table, whose changes are not in the WAL of this server',
      [],
    ],
    [
      'an inheritance child that joined later',
      'NotPublished',
      [member('t'), member('t_child', { published: false })],
      'publication pub does not have all of public.t',
      ['ALTER PUBLICATION pub ADD TABLE ONLY public.t_child;'],
    ],
  ])('%s', (_name, code, members, ...[reason, sql]) => {
    expect(judge(members).refusals.find(({ namespace }) => namespace === 'by-id')).toEqual({
      namespace: 'by-id',
      table: 'public.t',
      code,
      reason,
      sql,
    });
  });

  it.each([
    [
      'operations',
      { operations: ['insert'] },
      `ALTER PUBLICATION pub SET (publish = 'insert, update, delete, truncate');`,
    ],
    ['via root', { viaRoot: true }, 'ALTER PUBLICATION pub SET (publish_via_partition_root = false);'],
  ])('a publication with the wrong %s', (_name, wrong, sql) => {
    const { served, repair } = judge([member('t')], { ...publication, ...wrong });
    expect(served).toEqual([]);
    expect(repair).toEqual([sql]);
  });
});

describe('the publication', () => {
  it('is made with the tables whose identity serves some rule', () => {
    expect(withoutPublication([member('t', { published: false })]).repair).toEqual([
      `CREATE PUBLICATION pub FOR TABLE public.t WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = false);`,
    ]);
  });

  it('is made with the root of a partitioned table, which takes its partitions in', () => {
    const members = [member('t', { kind: 'p', published: false }), member('t_1', { published: false })];
    expect(withoutPublication(members).repair[0]).toContain('FOR TABLE public.t WITH');
  });

  // Publishing updates of a table without a replica identity makes the application's own UPDATEs fail.
  it('never takes in a table that has no replica identity', () => {
    const bare = [member('t', { published: false, identity: [], identityKind: 'd' })];
    expect(withoutPublication(bare).repair[0]).toContain('CREATE PUBLICATION pub WITH');
    expect(judge(bare).repair).toEqual([]);
  });
});

describe('marks', () => {
  const marks = (members: readonly MemberFacts[], facts = publication) =>
    tableMarks({ publication: facts, tables: [{ name: 'public.t', members }] });
  const before = marks([member('t')]);

  it.each<[string, readonly MemberFacts[], PublicationFacts, string[]]>([
    ['another identity', [member('t', { identityKind: 'f', identity: ['id', 'team'] })], publication, []],
    ['another type', [member('t', { types: ['bigint', 'text'] })], publication, ['shape']],
    ['another column', [member('t', { columns: ['id', 'group'] })], publication, ['shape']],
    ['another table of that name', [member('t', { oid: 2, membership: '8' })], publication, ['shape', 'membership']],
    ['a new partition', [member('t'), member('t_1', { membership: '' })], publication, ['shape']],
    ['a partition that was attached anew', [member('t', { attached: '9' })], publication, ['shape']],
    ['left and joined again', [member('t', { membership: '8' })], publication, ['membership']],
    ['an altered publication', [member('t')], { ...publication, identity: '1:8' }, ['membership']],
  ])('%s', (_name, members, facts, expected) => {
    const changed = changedTables(before, marks(members, facts));
    expect(
      Object.entries(changed)
        .filter(([, tables]) => tables.length > 0)
        .map(([mark]) => mark),
    ).toEqual(expected);
  });
});

describe('claims of an earlier record', () => {
  const twoTables = compileRules([
    { name: 'one', source: 'main', rules: [{ table: 'public.a', keys: ['{id}'], tags: [] }] },
    {
      name: 'both',
      source: 'main',
      rules: ['public.a', 'public.b'].map((table) => ({ table, keys: ['{id}'], tags: [] })),
    },
  ]);
  const digests = (a: string, b: string) =>
    digestsOf(
      new Map([
        ['public.a', { shape: a, membership: '' }],
        ['public.b', { shape: b, membership: '' }],
      ]),
    );
  const proven = (covers: readonly bigint[], before: ReadonlyMap<string, bigint>, now: ReadonlyMap<string, bigint>) => {
    const claimed = { covers: new Set(covers), catalog: new Set(before.values()) };
    const hashes = provenClaims({ rules: twoTables, claimed, digests: now });
    return twoTables.namespaces.filter(({ hash }) => hashes.has(hash)).map(({ name }) => name);
  };
  const all = twoTables.namespaces.map(({ hash }) => hash);

  it('[I8] hold for namespaces whose tables are all as they were', () => {
    const before = digests('1', '1');
    expect(proven(all, before, before)).toEqual(['one', 'both']);
    expect(proven(all, before, digests('1', '2'))).toEqual(['one']);
    expect(proven(all, before, digests('2', '1'))).toEqual([]);
    expect(proven(all.slice(0, 1), before, before)).toEqual(['one']);
    expect(proven(all, new Map(), before)).toEqual([]);
  });

  it('[I8] hold for other rules on tables of theirs, and not for those on any other table', () => {
    const before = digests('1', '1');
    const [one, both] = all as [bigint, bigint];
    expect(proven([both], before, before)).toEqual(['one', 'both']);
    expect(proven([one], before, before)).toEqual(['one']);
    expect(proven([both], before, digests('1', '2'))).toEqual(['one']);
  });
});
