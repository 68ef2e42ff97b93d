import { expect, test } from 'vitest';
import { Checker } from './checker.ts';

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
    { sidecar: 'sidecar-0', key: 'product/1', lsn: '0/200', row: 'products/1', version: 1, expectedVersion: 2 },
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
