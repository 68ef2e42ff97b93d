import { Op, readTableChanges, type CellValue } from '@tidemark/proto';
import { beforeEach, describe, expect, it } from 'vitest';
import { targetOf } from './relations.ts';
import {
  batchOf,
  ELSEWHERE,
  evicted,
  evictions,
  EVENTS,
  Harness,
  outboxOf,
  rules,
  t,
  user,
  USERS,
} from './testing/harness.ts';
import * as wire from './testing/wire.ts';
import type { WireCell } from './testing/wire.ts';

let harness: Harness;

beforeEach(() => {
  harness = new Harness();
});

describe('transactions', () => {
  it('evict what their rows name, at their commit', () => {
    expect(evicted(harness.transaction(wire.insert(USERS, user('1'))))).toEqual(['users 1@18', 'users #team:a@18']);
  });

  it('with an unknown old value evict coarser', () => {
    // The identity has no team, so the old team is unknown.
    expect(evicted(harness.transaction(wire.update(USERS, user('1', 'b'))))).toEqual(['users 1@18', 'users *@18']);
  });

  it('with a full old row evict both', () => {
    const full = { kind: 'O' as const, row: user('1', 'a') };
    expect(evicted(harness.transaction(wire.update(USERS, user('1', 'b'), full)))).toEqual([
      'users 1@18',
      'users #team:a@18',
      'users #team:b@18',
    ]);
  });

  it('with a changed key evict the old and the new one', () => {
    const key = { kind: 'K' as const, row: ['null', t('1'), 'null'] as WireCell[] };
    expect(evicted(harness.transaction(wire.update(USERS, user('2'), key)))).toContain('users 1@18');
  });

  it('take null outside of an old key for unknown, not for null', () => {
    const key = { kind: 'K' as const, row: ['null', t('1'), 'null'] as WireCell[] };
    expect(evicted(harness.transaction(wire.remove(USERS, key)))).toEqual(['users 1@18', 'users *@18']);
  });

  it('that touch only other tables just move the position', () => {
    expect(harness.transaction(wire.insert(ELSEWHERE, user('1')))).toEqual({
      kind: 'passed',
      lsn: 18,
      heartbeat: false,
    });
  });

  it('merge into one record, each under its own commit', () => {
    const events = ['1', '2', '3'].map((id) => harness.transaction(wire.insert(EVENTS, [t(id)])));
    const batch = batchOf(outboxOf(events).take());
    expect(batch.commits).toEqual([18, 28, 38]);
    expect(evictions(batch)).toEqual(['events 1@18', 'events 2@28', 'events 3@38']);
  });

  it('cannot begin inside one another, and rows cannot come outside of one', () => {
    expect(() => harness.assembler.accept(wire.insert(USERS, user('1')))).toThrow('outside of any transaction');
    harness.assembler.accept(wire.begin({ finalLsn: 1, atUs: 0, xid: 1 }));
    expect(() => harness.assembler.accept(wire.begin({ finalLsn: 2, atUs: 0, xid: 2 }))).toThrow('inside another one');
    expect(() => harness.assembler.accept(wire.insert(99, []))).toThrow('relation 99, which was never described');
  });
});

describe('TRUNCATE and relations that nobody knows any more', () => {
  it('are every row, after whatever else the record has of the table', () => {
    const events = [
      harness.transaction(wire.insert(EVENTS, [t('1')])),
      harness.transaction(wire.truncate([EVENTS, ELSEWHERE])),
      harness.transaction(wire.insert(EVENTS, [t('2')])),
    ];
    expect(evicted(...events)).toEqual(['events *@38']);
  });

  it('flush every partitioned table', () => {
    const gone = { schema: 'public', table: 'gone', columns: [] };
    expect(targetOf({ rules, relation: gone, facts: undefined, partitioned: ['public.events'] })).toEqual({
      kind: 'coarse',
      tables: ['public.events'],
    });
    harness.assembler.define(9, { kind: 'coarse', tables: ['public.events'] });
    expect(evicted(harness.transaction(wire.insert(9, [t('1')])))).toEqual(['events *@18']);
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
    const content = JSON.stringify({ purge: [{ namespace: 'users', keys: ['1'], tags: ['x'], prefixes: ['p:'] }] });
    expect(evicted(harness.transaction(purge(true, content)))).toEqual(['users 1@18', 'users #x@18', 'users p:…@18']);
    expect(evicted(harness.assembler.accept(purge(false, content, 77)))).toEqual([
      'users 1@77',
      'users #x@77',
      'users p:…@77',
    ]);
  });

  it('[I11] that cannot be understood purge everything, and are counted', () => {
    expect(evicted(harness.transaction(purge(true, '{"purge": 1}')))).toEqual(['users *@18', 'events *@18']);
    expect(evicted(harness.assembler.accept(purge(false, '\uFFFD', 77)))).toEqual(['users *@77', 'events *@77']);
    expect(harness.unreadablePurges).toBe(2);
    // As an application over a database of another encoding writes it.
    const latin = Buffer.from('{"purge":[{"namespace":"users","keys":["Zo\u00eb"]}]}', 'latin1');
    const message = wire.message({ transactional: true, lsn: 5, prefix: 'tidemark', content: latin });
    expect(evicted(harness.transaction(message))).toEqual(['users *@28', 'events *@28']);
    expect(harness.unreadablePurges).toBe(3);
  });

  it('leave marks at the commit of their transaction, also where it did nothing else', () => {
    const mark = (content: string | Buffer, transactional = true): Buffer =>
      wire.message({ transactional, lsn: 5, prefix: 'tidemark.mark', content });
    const marksOf = (...messages: Buffer[]): unknown => {
      const event = harness.transaction(...messages);
      return event.kind === 'committed' ? batchOf(outboxOf([event]).take()).marks : event.kind;
    };
    expect(marksOf(wire.insert(USERS, user('1')), mark('write:a'), mark('ä'))).toEqual([
      expect.objectContaining({ text: 'write:a', commit: 0 }),
      expect.objectContaining({ text: 'ä', commit: 0 }),
    ]);
    expect(marksOf(mark('alone'))).toEqual([expect.objectContaining({ text: 'alone' })]);
    // What is no mark is left out, and so are those beyond the limit.
    expect(marksOf(mark(''), mark('x'.repeat(257)), mark(Buffer.of(0x61, 0xff)))).toBe('passed');
    expect(marksOf(...Array.from({ length: 20 }, (_, i) => mark(`${i}`)))).toHaveLength(16);
    // Outside of a transaction there is no commit that could be told.
    expect(harness.assembler.accept(mark('x', false))).toMatchObject({ kind: 'passed', lsn: 5 });
  });

  it('of our own show that the stream lives; those of others mean nothing', () => {
    expect(
      harness.assembler.accept(
        wire.message({ transactional: false, lsn: 6, prefix: 'tidemark.heartbeat', content: '' }),
      ),
    ).toEqual({ kind: 'passed', lsn: 6, heartbeat: true });
    expect(
      harness.assembler.accept(wire.message({ transactional: false, lsn: 7, prefix: 'other', content: 'x' })),
    ).toEqual({
      kind: 'passed',
      lsn: 7,
      heartbeat: false,
    });
    expect(
      harness.transaction(wire.message({ transactional: true, lsn: 8, prefix: 'other', content: 'x' })),
    ).toMatchObject({
      kind: 'passed',
      lsn: 18,
    });
  });
});

it('cells of a projection: what an update says of each column', () => {
  const cellsOf = (message: Buffer): [Op, readonly (CellValue | undefined)[] | undefined][] => {
    const batch = batchOf(outboxOf([harness.transaction(message)]).take());
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
