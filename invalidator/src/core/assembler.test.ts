import {
  compileRules,
  decodeBatch,
  encodeBatch,
  invalidate,
  Op,
  readTableChanges,
  type Batch,
  type CellValue,
} from '@tidemark/proto';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { Assembler, type Assembled } from './assembler.ts';
import { DEFAULT_BOUNDS, type ChangeBounds } from './bounds.ts';
import { BrokenOrderError, Outbox, type DueRecord } from './outbox.ts';
import { targetOf } from './relations.ts';
import * as wire from './testing/wire.ts';
import type { WireCell } from './testing/wire.ts';

const rules = compileRules([
  { name: 'users', source: 'main', rules: [{ table: 'public.users', keys: ['{id}'], tags: ['team:{team}'] }] },
  { name: 'events', source: 'main', rules: [{ table: 'public.events', keys: ['{id}'], tags: [] }] },
]);
const USERS = 1;
const EVENTS = 2;
const ELSEWHERE = 3;
const columns = [
  { name: 'note', identity: false },
  { name: 'id', identity: true },
  { name: 'team', identity: false },
];
const relations = {
  [USERS]: { oid: USERS, schema: 'public', table: 'users', columns },
  [EVENTS]: { oid: EVENTS, schema: 'public', table: 'events', columns: columns.slice(1, 2) },
  [ELSEWHERE]: { oid: ELSEWHERE, schema: 'public', table: 'elsewhere', columns },
};

const t = (text: string): WireCell => ({ text });
const user = (id: string, team = 'a'): WireCell[] => [t('-'), t(id), t(team)];

let unreadable: number;
let assembler: Assembler;
let at: number;

beforeEach(() => {
  unreadable = 0;
  at = 0;
  assembler = fresh(DEFAULT_BOUNDS);
});

function fresh(bounds: ChangeBounds): Assembler {
  const made = new Assembler({ rules, bounds, onUnreadablePurge: () => (unreadable += 1) });
  for (const relation of Object.values(relations)) {
    const asked = made.accept(wire.relation(relation));
    if (asked.kind !== 'relation') throw new Error(asked.kind);
    made.define(
      relation.oid,
      targetOf({ rules, relation: asked.relation, facts: { published: true, lineage: [] }, partitioned: [] }),
    );
  }
  return made;
}

/** Feeds one transaction; each takes ten bytes of WAL. */
function transaction(...messages: readonly Buffer[]): Assembled {
  at += 10;
  assembler.accept(wire.begin({ finalLsn: at, atUs: 1000, xid: at }));
  for (const message of messages) expect(assembler.accept(message)).toEqual({ kind: 'nothing' });
  return assembler.accept(wire.commit({ start: at, end: at + 8, atUs: 1000 }));
}

function outboxOf(events: readonly Assembled[], bounds = DEFAULT_BOUNDS): Outbox {
  const outbox = new Outbox({ bounds, maxPending: 2, from: 0 });
  for (const event of events) {
    if (event.kind === 'committed') outbox.add(event.committed);
    else if (event.kind === 'passed') outbox.advance(event.lsn);
  }
  return outbox;
}

function batchOf({ rows: _rows, collapses: _collapses, ...record }: DueRecord): Batch {
  const identity = {
    source: 'main',
    epoch: 1,
    systemId: 1n,
    timeline: 1,
    covers: [],
    publishedAtUs: 0,
    heartbeat: false,
  };
  const decoded = decodeBatch(encodeBatch({ ...identity, ...record, visible: record.from }));
  if (decoded.kind !== 'batch') throw new Error(decoded.kind);
  return decoded.batch;
}

/** What a record evicts, as `namespace key` or `namespace #tag` or `namespace *`, with positions. */
function evictions(batch: Batch): string[] {
  const found: string[] = [];
  invalidate(rules, batch, {
    key: ({ name }, key, lsn) => found.push(`${name} ${key}@${lsn}`),
    tag: ({ name }, tag, lsn) => found.push(`${name} #${tag}@${lsn}`),
    namespace: ({ name }, lsn) => found.push(`${name} *@${lsn}`),
  });
  return found;
}

const evicted = (...events: readonly Assembled[]): string[] => evictions(batchOf(outboxOf(events).take()));

describe('transactions', () => {
  it('evict what their rows name, at their commit', () => {
    expect(evicted(transaction(wire.insert(USERS, user('1'))))).toEqual(['users 1@18', 'users #team:a@18']);
  });

  it('with an unknown old value evict coarser', () => {
    // The identity has no team, so the old team is unknown.
    expect(evicted(transaction(wire.update(USERS, user('1', 'b'))))).toEqual(['users 1@18', 'users *@18']);
  });

  it('with a full old row evict both', () => {
    const full = { kind: 'O' as const, row: user('1', 'a') };
    expect(evicted(transaction(wire.update(USERS, user('1', 'b'), full)))).toEqual([
      'users 1@18',
      'users #team:a@18',
      'users #team:b@18',
    ]);
  });

  it('with a changed key evict the old and the new one', () => {
    const key = { kind: 'K' as const, row: ['null', t('1'), 'null'] as WireCell[] };
    expect(evicted(transaction(wire.update(USERS, user('2'), key)))).toContain('users 1@18');
  });

  it('take null outside of an old key for unknown, not for null', () => {
    const key = { kind: 'K' as const, row: ['null', t('1'), 'null'] as WireCell[] };
    expect(evicted(transaction(wire.remove(USERS, key)))).toEqual(['users 1@18', 'users *@18']);
  });

  it('that touch only other tables just move the position', () => {
    expect(transaction(wire.insert(ELSEWHERE, user('1')))).toEqual({ kind: 'passed', lsn: 18, heartbeat: false });
  });

  it('merge into one record, each under its own commit', () => {
    const events = ['1', '2', '3'].map((id) => transaction(wire.insert(EVENTS, [t(id)])));
    const batch = batchOf(outboxOf(events).take());
    expect(batch.commits).toEqual([18, 28, 38]);
    expect(evictions(batch)).toEqual(['events 1@18', 'events 2@28', 'events 3@38']);
  });

  it('cannot begin inside one another, and rows cannot come outside of one', () => {
    expect(() => assembler.accept(wire.insert(USERS, user('1')))).toThrow('outside of any transaction');
    assembler.accept(wire.begin({ finalLsn: 1, atUs: 0, xid: 1 }));
    expect(() => assembler.accept(wire.begin({ finalLsn: 2, atUs: 0, xid: 2 }))).toThrow('inside another one');
    expect(() => assembler.accept(wire.insert(99, []))).toThrow('relation 99, which was never described');
  });
});

describe('TRUNCATE and relations that nobody knows any more', () => {
  it('are every row, after whatever else the record has of the table', () => {
    const events = [
      transaction(wire.insert(EVENTS, [t('1')])),
      transaction(wire.truncate([EVENTS, ELSEWHERE])),
      transaction(wire.insert(EVENTS, [t('2')])),
    ];
    expect(evicted(...events)).toEqual(['events *@38']);
  });

  it('flush every partitioned table', () => {
    const gone = { schema: 'public', table: 'gone', columns: [] };
    expect(targetOf({ rules, relation: gone, facts: undefined, partitioned: ['public.events'] })).toEqual({
      kind: 'coarse',
      tables: ['public.events'],
    });
    assembler.define(9, { kind: 'coarse', tables: ['public.events'] });
    expect(evicted(transaction(wire.insert(9, [t('1')])))).toEqual(['events *@18']);
  });

  it('are ignored when they are published for somebody else', () => {
    const other = { schema: 'public', table: 'other', columns: [] };
    expect(
      targetOf({
        rules,
        relation: other,
        facts: { published: true, lineage: ['public.other'] },
        partitioned: ['public.events'],
      }),
    ).toEqual({ kind: 'ignored' });
  });
});

describe('messages', () => {
  const purge = (transactional: boolean, content: string, lsn = 5): Buffer =>
    wire.message({ transactional, lsn, prefix: 'tidemark', content });

  it('purge at the commit of their transaction, or at their own position', () => {
    const content = JSON.stringify({ purge: [{ namespace: 'users', keys: ['1'], tags: ['x'] }] });
    expect(evicted(transaction(purge(true, content)))).toEqual(['users 1@18', 'users #x@18']);
    expect(evicted(assembler.accept(purge(false, content, 77)))).toEqual(['users 1@77', 'users #x@77']);
  });

  it('that cannot be understood purge everything, and are counted', () => {
    expect(evicted(transaction(purge(true, '{"purge": 1}')))).toEqual(['users *@18', 'events *@18']);
    expect(evicted(assembler.accept(purge(false, '\uFFFD', 77)))).toEqual(['users *@77', 'events *@77']);
    expect(unreadable).toBe(2);
  });

  it('of our own show that the stream lives; those of others mean nothing', () => {
    expect(
      assembler.accept(wire.message({ transactional: false, lsn: 6, prefix: 'tidemark.heartbeat', content: '' })),
    ).toEqual({ kind: 'passed', lsn: 6, heartbeat: true });
    expect(assembler.accept(wire.message({ transactional: false, lsn: 7, prefix: 'other', content: 'x' }))).toEqual({
      kind: 'passed',
      lsn: 7,
      heartbeat: false,
    });
    expect(transaction(wire.message({ transactional: true, lsn: 8, prefix: 'other', content: 'x' }))).toMatchObject({
      kind: 'passed',
      lsn: 18,
    });
  });
});

describe('bounds (I13)', () => {
  const bounds: ChangeBounds = {
    maxTableBytes: 2000,
    maxTableRows: 50,
    maxPurgeBytes: 1000,
    maxBytes: 3000,
    maxCommits: 20,
  };

  it('a million rows of one transaction become every row, in constant memory', () => {
    assembler.accept(wire.begin({ finalLsn: 1, atUs: 0, xid: 1 }));
    const row = wire.insert(EVENTS, [t('123456')]);
    for (let i = 0; i < 1_000_000; i++) assembler.accept(row);
    const event = assembler.accept(wire.commit({ start: 1, end: 2, atUs: 0 }));
    if (event.kind !== 'committed') throw new Error(event.kind);
    expect(event.committed.changes.rows).toBe(1_000_000);
    expect(event.committed.changes.bytes).toBeLessThan(200);
    expect(evicted(event)).toEqual(['events *@2']);
  });

  it('a value of a rule column counts in bytes of UTF-8', () => {
    assembler = fresh(bounds);
    const event = transaction(...Array.from({ length: 3 }, (_, i) => wire.insert(EVENTS, [t('語'.repeat(300) + i)])));
    expect(evicted(event)).toEqual(['events *@18']);
  });

  it('too many purges become whole namespaces, and too many of those everything', () => {
    assembler = fresh(bounds);
    const keys = Array.from({ length: 100 }, (_, i) => `key-${i}-${'x'.repeat(20)}`);
    const one = { purge: [{ namespace: 'users', keys }] };
    const content = JSON.stringify(one);
    expect(evicted(transaction(wire.message({ transactional: true, lsn: 1, prefix: 'tidemark', content })))).toEqual([
      'users *@18',
    ]);
    const many = { purge: Array.from({ length: 60 }, (_, i) => ({ namespace: `n${i}`, all: true })) };
    const everything = wire.message({ transactional: true, lsn: 1, prefix: 'tidemark', content: JSON.stringify(many) });
    expect(evicted(transaction(everything))).toEqual(['users *@28', 'events *@28']);
  });

  it('a purge at its own limit goes through unharmed', () => {
    const keys = Array.from({ length: 1000 }, (_, i) => `${i}`.padEnd(512, 'k'));
    const content = JSON.stringify({ purge: [{ namespace: 'users', keys }] });
    const batch = batchOf(
      outboxOf([transaction(wire.message({ transactional: true, lsn: 1, prefix: 'tidemark', content }))]).take(),
    );
    expect(evictions(batch)).toHaveLength(1000);
  });

  // The invariant of everything here: "a phantom, never a hole". Whatever the bounds made of it, each change of each
  // transaction is in some record, at its commit or (coarser) at a later one, and the records form a chain.
  it('every change of every transaction is in the records, however they are cut, and no record is too large', () => {
    const id = fc.integer({ min: 0, max: 99 }).map(String);
    const change = fc.oneof(
      fc.record({ op: fc.constant('event' as const), id }),
      fc.record({ op: fc.constant('user' as const), id }),
      fc.record({ op: fc.constant('truncate' as const), id: fc.constant('') }),
      fc.record({ op: fc.constant('purge' as const), id: id.map((text) => text.repeat(30)) }),
    );
    const work = fc.array(fc.record({ changes: fc.array(change, { maxLength: 70 }), takeAfter: fc.boolean() }), {
      maxLength: 30,
    });
    fc.assert(
      fc.property(work, (transactions) => {
        at = 0;
        assembler = fresh(bounds);
        const outbox = new Outbox({ bounds, maxPending: 2, from: 0 });
        const taken: DueRecord[] = [];
        const expected: { names: string[]; commit: number }[] = [];
        for (const { changes, takeAfter } of transactions) {
          const event = transaction(
            ...changes.map((each) =>
              each.op === 'event'
                ? wire.insert(EVENTS, [t(each.id)])
                : each.op === 'user'
                  ? wire.insert(USERS, user(each.id))
                  : each.op === 'truncate'
                    ? wire.truncate([EVENTS])
                    : wire.message({
                        transactional: true,
                        lsn: 1,
                        prefix: 'tidemark',
                        content: JSON.stringify({ purge: [{ namespace: 'users', keys: [each.id] }] }),
                      }),
            ),
          );
          for (const each of changes) {
            const namespace = each.op === 'event' || each.op === 'truncate' ? 'events' : 'users';
            expected.push({
              names: [`${namespace} ${each.op === 'truncate' ? '*' : each.id}`, `${namespace} *`],
              commit: at + 8,
            });
          }
          if (event.kind === 'committed') outbox.add(event.committed);
          else if (event.kind === 'passed') outbox.advance(event.lsn);
          if (takeAfter) taken.push(outbox.take());
        }
        while (outbox.dirty) taken.push(outbox.take());

        let last = 0;
        const found = new Map<string, number>();
        for (const record of taken) {
          expect(record.from).toBe(last);
          last = record.to;
          const size = record.tables.reduce((sum, table) => sum + table.changes.length, 0);
          expect(size).toBeLessThanOrEqual(bounds.maxBytes);
          expect(record.commits.length).toBeLessThanOrEqual(bounds.maxCommits);
          for (const commit of record.commits) expect(commit > record.from && commit <= record.to).toBe(true);
          for (const eviction of evictions(batchOf(record))) {
            const [name, lsn] = eviction.split('@') as [string, string];
            found.set(name, Math.max(found.get(name) ?? 0, Number(lsn)));
          }
        }
        for (const { names, commit } of expected) {
          expect(names.some((name) => (found.get(name) ?? 0) >= commit)).toBe(true);
        }
      }),
    );
  });
});

describe('the outbox', () => {
  it('says when the stream has to wait, and takes the position along when nothing else waits', () => {
    const tight: ChangeBounds = { ...DEFAULT_BOUNDS, maxCommits: 1 };
    const outbox = outboxOf([transaction(wire.insert(EVENTS, [t('1')]))], tight);
    expect(outbox.full).toBe(false);
    const next = transaction(wire.insert(EVENTS, [t('2')]));
    if (next.kind === 'committed') outbox.add(next.committed);
    expect(outbox.full).toBe(true);
    outbox.advance(40);
    expect(outbox.take()).toMatchObject({ from: 0, to: 18 });
    expect(outbox.take()).toMatchObject({ from: 18, to: 40 });
    expect(outbox.take()).toMatchObject({ from: 40, to: 40, commits: [] });
  });

  it('skips what an earlier record held, and refuses what comes after its position was passed', () => {
    const outbox = new Outbox({ bounds: DEFAULT_BOUNDS, maxPending: 2, from: 20 });
    const [old, young] = [transaction(wire.insert(EVENTS, [t('1')])), transaction(wire.insert(EVENTS, [t('2')]))];
    if (old.kind !== 'committed' || young.kind !== 'committed') throw new Error('nothing was committed');
    expect(outbox.add(old.committed)).toBe(false);
    outbox.advance(15);
    expect(outbox.reached).toBe(20);
    outbox.advance(30);
    expect(() => outbox.add(young.committed)).toThrow(BrokenOrderError);
  });
});

it('cells of a projection: what an update says of each column', () => {
  const cellsOf = (message: Buffer): [Op, readonly (CellValue | undefined)[] | undefined][] => {
    const batch = batchOf(outboxOf([transaction(message)]).take());
    const found: [Op, readonly (CellValue | undefined)[] | undefined][] = [];
    for (const block of batch.tables)
      readTableChanges(block.changes).forEach((op, _commit, before) => found.push([op, before?.slice()]));
    return found;
  };
  expect(cellsOf(wire.update(USERS, user('1', 'b')))).toEqual([[Op.update, ['1', undefined]]]);
  expect(cellsOf(wire.update(USERS, [t('-'), t('1'), 'unchanged'], { kind: 'O', row: user('1', 'old') }))).toEqual([
    [Op.update, ['1', 'old']],
  ]);
});
