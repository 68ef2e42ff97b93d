import { beforeEach, describe, expect, test } from 'vitest';
import { Checker, describeStaleRead } from './checker.ts';

function write(checker: Checker, lsn: string, row: string, version: number): void {
  checker.endWrite(checker.beginWrite(), 0, { lsn, rows: [{ row, version }] });
}

function serve(checker: Checker, lsn: string, row: string, version: number): void {
  checker.served({ sidecar: 'sidecar-0', key: 'product/1', lsn, rows: [{ row, version }] });
}

test('a value that lacks a commit at or before its watermark is stale, and is told', () => {
  const checker = new Checker();
  write(checker, '0/200', 'products/1', 2);
  serve(checker, '0/200', 'products/1', 1);
  expect(checker.stale).toBe(1);
  expect(checker.offences).toEqual([
    {
      fault: 'stale',
      sidecar: 'sidecar-0',
      key: 'product/1',
      lsn: '0/200',
      row: 'products/1',
      version: 1,
      expectedVersion: 2,
      promise: 'commit',
    },
  ]);
  expect(checker.offences.map(describeStaleRead)).toEqual([
    'sidecar-0 served product/1 under W = 0/200 with products/1 at version 1, but version 2 was committed at or before W',
  ]);
});

test('a value may lack commits after its watermark, and may show them', () => {
  const checker = new Checker();
  write(checker, '0/200', 'products/1', 2);
  serve(checker, '0/1FF', 'products/1', 1);
  serve(checker, '0/1FF', 'products/1', 2);
  serve(checker, '0/1FF', 'products/2', 1);
  expect(checker).toMatchObject({ checked: 3, stale: 0 });
});

test('a row that is said not to exist is stale once its insert is promised', () => {
  const checker = new Checker();
  serve(checker, '0/100', 'products/7', 0);
  write(checker, '0/200', 'products/7', 1);
  serve(checker, '0/300', 'products/7', 0);
  expect(checker).toMatchObject({ checked: 2, stale: 1 });
});

test('one stale row in a page of many counts as one stale read', () => {
  const checker = new Checker();
  write(checker, '0/200', 'products/1', 2);
  write(checker, '0/200', 'products/2', 2);
  const rows = ['products/1', 'products/2', 'products/3'].map((row) => ({ row, version: 1 }));
  checker.served({ sidecar: 'sidecar-0', key: 'category-page/a', lsn: '1/0', rows });
  expect(checker.stale).toBe(1);
  expect(checker.offences).toHaveLength(2);
});

test('a value is judged only after the writes that were under way when it came, so that a commit whose writer is slow counts', () => {
  const checker = new Checker();
  const ticket = checker.beginWrite();
  serve(checker, '0/300', 'products/1', 1);
  expect(checker.checked).toBe(0);
  const later = checker.beginWrite();
  checker.endWrite(ticket, 0, { lsn: '0/200', rows: [{ row: 'products/1', version: 2 }] });
  expect(checker).toMatchObject({ checked: 1, stale: 1 });
  checker.endWrite(later, 0);
  expect(checker.stale).toBe(1);
});

test('a write of unknown outcome blames nobody', () => {
  const checker = new Checker();
  checker.endWrite(checker.beginWrite(), 0);
  serve(checker, '0/300', 'products/1', 1);
  expect(checker).toMatchObject({ checked: 1, stale: 0 });
});

test('a later version with a lower bound makes up for a bound that was learned late', () => {
  const checker = new Checker();
  const early = checker.beginWrite();
  write(checker, '0/150', 'products/1', 6);
  checker.endWrite(early, 0, { lsn: '0/200', rows: [{ row: 'products/1', version: 5 }] });
  serve(checker, '0/150', 'products/1', 5);
  serve(checker, '0/200', 'products/1', 6);
  expect(checker).toMatchObject({ checked: 2, stale: 1 });
});

test('the newest write of a row is remembered for ever, older ones for a minute', () => {
  const checker = new Checker();
  write(checker, '0/100', 'products/1', 2);
  checker.endWrite(checker.beginWrite(), 61_000, { lsn: '0/200', rows: [{ row: 'products/1', version: 3 }] });
  serve(checker, '0/150', 'products/1', 1); // no longer known
  serve(checker, '0/200', 'products/1', 2);
  expect(checker).toMatchObject({ checked: 2, stale: 1 });
});

test('what still waits at the end is judged', () => {
  const checker = new Checker();
  write(checker, '0/200', 'products/1', 2);
  checker.beginWrite();
  serve(checker, '0/200', 'products/1', 1);
  expect(checker.checked).toBe(0);
  checker.finish();
  expect(checker).toMatchObject({ checked: 1, stale: 1 });
});

test('a write that never ends does not keep more values waiting than there is room for', () => {
  const checker = new Checker();
  checker.beginWrite();
  for (let count = 0; count < 20_100; count += 1) serve(checker, '0/200', 'products/1', 1);
  expect(checker.checked).toBe(100);
});

test('a value from before an acknowledged purge is stale for everybody who has applied the purge', () => {
  const checker = new Checker();
  checker.endWrite(checker.beginWrite(), 0, {
    lsn: '0/200',
    rows: [{ row: 'docs/1', version: 2 }],
    promise: 'purge',
  });
  serve(checker, '0/1FF', 'docs/1', 1);
  expect(checker.stale).toBe(0);
  serve(checker, '0/200', 'docs/1', 1);
  expect(checker.offences.map(describeStaleRead)).toEqual([
    'sidecar-0 served product/1 under W = 0/200 with docs/1 at version 1, but version 2 was purged with acknowledgement at or before W',
  ]);
});

describe('after a promotion that lost commits', () => {
  let checker: Checker;
  const rows = (version: number, timeline: number) => [{ row: 'items/1', version, timeline }];
  const commit = (lsn: string, version: number, timeline: number): void =>
    checker.endWrite(checker.beginWrite(), 0, { lsn, rows: rows(version, timeline) });
  const see = (lsn: string, seen: [version: number, timeline: number], timeline: number): void =>
    checker.served({ sidecar: 'sidecar-0', key: 'item/1', lsn, rows: rows(...seen), timeline });
  beforeEach(() => {
    checker = new Checker();
    commit('0/100', 2, 1);
    commit('0/300', 3, 1); // lost
    checker.promoted({ timeline: 2, switchLsn: '0/200', survivors: new Map([['items/1', 2]]) });
  });

  test('nobody need show what was lost, also where its position is reached again, and everybody what came over', () => {
    see('0/400', [2, 1], 2);
    see('0/400', [2, 1], 1);
    expect(checker.stale).toBe(0);
    see('0/100', [1, 1], 2);
    expect(checker.stale).toBe(1);
  });

  test('what was lost must not be shown under the new timeline, but may under the old one', () => {
    see('0/400', [3, 1], 1);
    expect(checker.stale).toBe(0);
    see('0/400', [3, 1], 2);
    expect(checker.offences.map(describeStaleRead)).toEqual([
      'sidecar-0 served item/1 under W = 0/400 with items/1 at version 3, which a promotion has undone: version 2 came over',
    ]);
  });

  test('what the new primary commits is promised under the new timeline only', () => {
    commit('0/250', 3, 2);
    see('0/300', [2, 1], 1);
    see('0/300', [3, 2], 2);
    expect(checker.stale).toBe(0);
    see('0/300', [2, 1], 2);
    expect(checker.stale).toBe(1);
  });

  test('a lost commit whose writer is late is not asked for either', () => {
    commit('0/350', 4, 1);
    see('0/400', [2, 1], 2);
    see('0/400', [2, 1], 1);
    expect(checker.stale).toBe(0);
  });
});
