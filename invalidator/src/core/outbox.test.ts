import { MARK_LIMITS } from '@tidemark/proto';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { DEFAULT_BOUNDS, type ChangeBounds } from './bounds.ts';
import { BrokenOrderError, Outbox, type DueRecord } from './outbox.ts';
import { batchOf, evicted, evictions, EVENTS, Harness, outboxOf, put, t, user, USERS } from './testing/harness.ts';
import * as wire from './testing/wire.ts';

let harness: Harness;

beforeEach(() => {
  harness = new Harness();
});

describe('bounds (I13)', () => {
  const bounds: ChangeBounds = {
    maxTableBytes: 2000,
    maxTableRows: 50,
    maxPurgeBytes: 1000,
    maxBytes: 3000,
    maxCommits: 20,
  };

  it('[I13] a million rows of one transaction become every row, in constant memory', () => {
    harness.assembler.accept(wire.begin({ finalLsn: 1, atUs: 0, xid: 1 }));
    const row = wire.insert(EVENTS, [t('123456')]);
    for (let i = 0; i < 1_000_000; i++) harness.assembler.accept(row);
    const event = harness.assembler.accept(wire.commit({ start: 1, end: 2, atUs: 0 }));
    if (event.kind !== 'committed') throw new Error(event.kind);
    expect(event.committed.changes.rows).toBe(1_000_000);
    expect(event.committed.changes.bytes).toBeLessThan(200);
    expect(evicted(event)).toEqual(['events *@2']);
  });

  it('a value of a rule column counts in bytes of UTF-8', () => {
    harness = new Harness(bounds);
    const event = harness.transaction(
      ...Array.from({ length: 3 }, (_, i) => wire.insert(EVENTS, [t('語'.repeat(300) + i)])),
    );
    expect(evicted(event)).toEqual(['events *@18']);
  });

  it('too many purges become whole namespaces, and too many of those everything', () => {
    harness = new Harness(bounds);
    const keys = Array.from({ length: 100 }, (_, i) => `key-${i}-${'x'.repeat(20)}`);
    const one = { purge: [{ namespace: 'users', prefixes: keys }] };
    const content = JSON.stringify(one);
    expect(
      evicted(harness.transaction(wire.message({ transactional: true, lsn: 1, prefix: 'tidemark', content }))),
    ).toEqual(['users *@18']);
    const many = { purge: Array.from({ length: 60 }, (_, i) => ({ namespace: `n${i}`, all: true })) };
    const everything = wire.message({ transactional: true, lsn: 1, prefix: 'tidemark', content: JSON.stringify(many) });
    expect(evicted(harness.transaction(everything))).toEqual(['users *@28', 'events *@28']);
  });

  it('a purge at its own limit goes through unharmed', () => {
    const keys = Array.from({ length: 1000 }, (_, i) => `${i}`.padEnd(512, 'k'));
    const content = JSON.stringify({
      purge: [{ namespace: 'users', keys: keys.slice(500), prefixes: keys.slice(0, 500) }],
    });
    const batch = batchOf(
      outboxOf([
        harness.transaction(wire.message({ transactional: true, lsn: 1, prefix: 'tidemark', content })),
      ]).take(),
    );
    expect(evictions(batch)).toHaveLength(1000);
  });

  // The invariant of everything here: "a phantom, never a hole". Whatever the bounds made of it, each change of each
  // transaction is in some record, at its commit or (coarser) at a later one, and the records form a chain.
  it('[I1] [I13] every change of every transaction is in the records, however they are cut, and no record is too large', () => {
    const id = fc.integer({ min: 0, max: 99 }).map(String);
    const change = fc.oneof(
      fc.record({ op: fc.constant('event' as const), id }),
      fc.record({ op: fc.constant('user' as const), id }),
      fc.record({ op: fc.constant('truncate' as const), id: fc.constant('') }),
      fc.record({ op: fc.constant('purge' as const), id: id.map((text) => text.repeat(30)) }),
      fc.record({ op: fc.constant('mark' as const), id }),
    );
    const work = fc.array(fc.record({ changes: fc.array(change, { maxLength: 70 }), takeAfter: fc.boolean() }), {
      maxLength: 30,
    });
    fc.assert(
      fc.property(work, (transactions) => {
        harness = new Harness(bounds);
        const outbox = new Outbox({ bounds, maxPending: 2, from: 0 });
        const taken: DueRecord[] = [];
        const expected: { names: string[]; commit: number }[] = [];
        const left: string[] = [];
        for (const { changes, takeAfter } of transactions) {
          const event = harness.transaction(
            ...changes.map((each) =>
              each.op === 'event'
                ? wire.insert(EVENTS, [t(each.id)])
                : each.op === 'user'
                  ? wire.insert(USERS, user(each.id))
                  : each.op === 'truncate'
                    ? wire.truncate([EVENTS])
                    : each.op === 'mark'
                      ? wire.message({ transactional: true, lsn: 1, prefix: 'tidemark.mark', content: each.id })
                      : wire.message({
                          transactional: true,
                          lsn: 1,
                          prefix: 'tidemark',
                          content: JSON.stringify({ purge: [{ namespace: 'users', keys: [each.id] }] }),
                        }),
            ),
          );
          const marks = changes.filter(({ op }) => op === 'mark').slice(0, MARK_LIMITS.perTransaction);
          left.push(...marks.map((each) => `${each.id}@${harness.commit}`));
          for (const each of changes) {
            if (each.op === 'mark') continue;
            const namespace = each.op === 'event' || each.op === 'truncate' ? 'events' : 'users';
            expected.push({
              names: [`${namespace} ${each.op === 'truncate' ? '*' : each.id}`, `${namespace} *`],
              commit: harness.commit,
            });
          }
          put(outbox, event);
          if (takeAfter) taken.push(outbox.take());
        }
        while (outbox.dirty) taken.push(outbox.take());

        let last = 0;
        const found = new Map<string, number>();
        const told: string[] = [];
        for (const record of taken) {
          expect(record.from).toBe(last);
          last = record.to;
          const size = record.tables.reduce((sum, table) => sum + table.changes.length, 0);
          expect(size).toBeLessThanOrEqual(bounds.maxBytes);
          expect(record.commits.length).toBeLessThanOrEqual(bounds.maxCommits);
          for (const commit of record.commits) expect(commit > record.from && commit <= record.to).toBe(true);
          told.push(...record.marks.map(({ text, commit }) => `${text}@${record.commits[commit]}`));
          for (const eviction of evictions(batchOf(record))) {
            const [name, lsn] = eviction.split('@') as [string, string];
            found.set(name, Math.max(found.get(name) ?? 0, Number(lsn)));
          }
        }
        for (const { names, commit } of expected) {
          expect(names.some((name) => (found.get(name) ?? 0) >= commit)).toBe(true);
        }
        // Marks, unlike changes, are told at their very commit, whatever became of the changes beside them.
        expect(told).toEqual(left);
      }),
    );
  });
});

describe('the outbox', () => {
  it('says when the stream has to wait, and takes the position along when nothing else waits', () => {
    const tight: ChangeBounds = { ...DEFAULT_BOUNDS, maxCommits: 1 };
    const outbox = outboxOf([harness.transaction(wire.insert(EVENTS, [t('1')]))], tight);
    expect(outbox.full).toBe(false);
    const next = harness.transaction(wire.insert(EVENTS, [t('2')]));
    if (next.kind === 'committed') outbox.add(next.committed);
    expect(outbox.full).toBe(true);
    outbox.advance(40);
    expect(outbox.take()).toMatchObject({ from: 0, to: 18 });
    expect(outbox.take()).toMatchObject({ from: 18, to: 40 });
    expect(outbox.take()).toMatchObject({ from: 40, to: 40, commits: [] });
  });

  it('[I1] skips what an earlier record held, and refuses what comes after its position was passed', () => {
    const outbox = new Outbox({ bounds: DEFAULT_BOUNDS, maxPending: 2, from: 20 });
    const [old, young] = [
      harness.transaction(wire.insert(EVENTS, [t('1')])),
      harness.transaction(wire.insert(EVENTS, [t('2')])),
    ];
    if (old.kind !== 'committed' || young.kind !== 'committed') throw new Error('nothing was committed');
    expect(outbox.add(old.committed)).toBe(false);
    outbox.advance(15);
    expect(outbox.reached).toBe(20);
    outbox.advance(30);
    expect(() => outbox.add(young.committed)).toThrow(BrokenOrderError);
  });
});
