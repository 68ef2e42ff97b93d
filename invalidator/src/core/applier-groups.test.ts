import {
  parseConfig,
  rulesOfSource,
  TableChangesBuilder,
  Op,
  type Batch,
  type DecodedBatch,
  type TidemarkConfig,
} from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { RecordGrouper, type Group, type SourceRecord } from './applier-groups.ts';

const config = configOf({
  user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}', 'name:{name}'] }] },
  list: { source: 'main', invalidate: [{ table: 'public.users', tags: ['user:{id}'] }] },
  local: { source: 'main', l2: { enabled: false }, invalidate: [{ table: 'public.users', keys: ['{id}'] }] },
  ttl: { source: 'main', invalidation: 'ttl_only' },
});
const rules = rulesOfSource(config, 'main');
const hashOf = (name: string): bigint => rules.byName.get(name)?.hash ?? 0n;
const hexOf = (name: string): string => rules.byName.get(name)?.hashHex ?? '';
const covers = rules.namespaces.map(({ hash }) => hash);

function configOf(namespaces: object): TidemarkConfig {
  const result = parseConfig({ sources: { main: { topic: 't' } }, namespaces });
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result.config;
}

function grouper(limits: { maxNames?: number; maxGroupNames?: number } = {}): RecordGrouper {
  return new RecordGrouper({ config, source: 'main', maxNames: 1000, maxGroupNames: 1000, ...limits });
}

/** A record that changes users. */
function batch(from: number, to: number, ids: readonly string[], more: Partial<Batch> = {}): DecodedBatch {
  const rows = new TableChangesBuilder(['id', 'name']);
  for (const id of ids) rows.add({ op: Op.update, commit: 0, before: [id, 'x'], after: [id, 'y'] });
  const tables = ids.length === 0 ? [] : [{ schema: 'public', table: 'users', changes: rows.encode() }];
  return {
    kind: 'batch',
    batch: {
      ...{ source: 'main', epoch: 1, from, to, visible: to, committedAtUs: 0, publishedAtUs: to * 10, systemId: 1n },
      ...{ timeline: 1, heartbeat: false, covers, commits: [to], tables, purges: [] },
      ...more,
    },
  };
}

function grouped(records: readonly (DecodedBatch | undefined)[], own = grouper()): (Group | number)[] {
  const source: SourceRecord[] = records.map((decoded, offset) => ({ offset, decoded }));
  return [...own.group(source)].map((group) => (group.kind === 'group' ? group : group.offset));
}

describe('RecordGrouper', () => {
  it('puts records together that follow one another, each name once at its newest position', () => {
    const groups = grouped([batch(0, 10, ['1', '2']), batch(10, 20, ['2']), batch(20, 30, [])]);
    expect(groups).toMatchObject([{ from: 0, to: 30, visible: 30, nextOffset: 3, records: 3, publishedAtUs: 300 }]);
    const [{ fences }] = groups as [Group];
    expect(fences.keysByBucket(1)[0]).toEqual([
      { pair: hexOf('user'), name: '1', lsn: 10 },
      { pair: hexOf('user'), name: 'name:x', lsn: 20 },
      { pair: hexOf('user'), name: 'name:y', lsn: 20 },
      { pair: hexOf('user'), name: '2', lsn: 20 },
    ]);
    expect(fences.tags()).toEqual([
      { pair: hexOf('list'), name: 'user:1', lsn: 10 },
      { pair: hexOf('list'), name: 'user:2', lsn: 20 },
    ]);
    expect(fences.counts()).toEqual({ key: 4, tag: 2, namespace: 0 });
  });

  it.each([
    ['a gap', batch(11, 20, [])],
    ['an overlap', batch(5, 20, [])],
    ['another epoch', batch(10, 20, [], { epoch: 2 })],
    ['another set of namespaces', batch(10, 20, [], { covers: [hashOf('user')] })],
    [
      'a record for newer readers',
      { kind: 'too-new', span: { epoch: 1, from: 10, to: 20 }, visible: 20, minReader: 9 } as const,
    ],
  ])('begins a new group at %s', (_name, second) => {
    expect(grouped([batch(0, 10, ['1']), second])).toMatchObject([{ to: 10 }, { to: 20 }]);
  });

  it('begins a new group when the one before has enough', () => {
    expect(grouped([batch(0, 10, ['1']), batch(10, 20, ['2'])], grouper({ maxGroupNames: 3 }))).toHaveLength(2);
    expect(grouped([batch(0, 10, ['1']), batch(10, 20, ['2'])], grouper({ maxGroupNames: 5 }))).toHaveLength(1);
  });

  it('tells of an unreadable record in its place', () => {
    const groups = grouped([batch(0, 10, []), undefined, batch(10, 20, [])]);
    expect(groups).toMatchObject([{ to: 10 }, 1, { to: 20 }]);
  });

  it('[I8] applies namespaces that the publisher serves and that have an L2, under a name for just that set', () => {
    const [all, again, some, none] = [covers, covers.toReversed(), [hashOf('list')], [1n]].map((served) => {
      const [group] = grouped([batch(0, 10, ['1'], { covers: served })]) as [Group];
      return { names: group.applied.namespaces.map(({ name }) => name), digest: group.applied.digest };
    });
    expect(all?.names).toEqual(['list', 'user']);
    expect(again).toEqual(all);
    expect(some?.names).toEqual(['list']);
    expect(none?.names).toEqual([]);
    expect(new Set([all, some, none].map((one) => one?.digest)).size).toBe(3);
  });

  it('[I13] fences a namespace as a whole that has more names than a log remembers, at the newest of them', () => {
    const ids = Array.from({ length: 20 }, (_, i) => `${i}`);
    const [group] = grouped([batch(0, 10, ids), batch(10, 20, ['1'])], grouper({ maxNames: 15 })) as [Group];
    expect(group.fences.counts()).toEqual({ key: 0, tag: 0, namespace: 2 });
    expect(group.fences.namespaces()).toEqual([
      { pair: hexOf('list'), lsn: 20 },
      { pair: hexOf('user'), lsn: 20 },
    ]);
    expect(group.fences.size).toBe(0);
  });

  it('gives each key to the bucket that holds it, and every tag to all', () => {
    const ids = Array.from({ length: 50 }, (_, i) => `${i}`);
    const [group] = grouped([batch(0, 10, ids)]) as [Group];
    const byBucket = group.fences.keysByBucket(4);
    expect(byBucket.map((fences) => fences.length > 0)).toEqual([true, true, true, true]);
    expect(byBucket.flat()).toHaveLength(group.fences.counts().key);
    expect(group.fences.tags()).toHaveLength(50);
  });

  it('leaves out keys that no entry can have', () => {
    const [group] = grouped([batch(0, 10, ['x'.repeat(513)])]) as [Group];
    expect(group.fences.keysByBucket(1)[0]?.map(({ name }) => name)).toEqual(['name:x', 'name:y']);
  });
});
