import { beforeEach, expect, test } from 'vitest';
import { Epochs } from './epochs.ts';

let epochs: Epochs;

beforeEach(() => {
  epochs = new Epochs();
});

function hold(sentAtMs: number, receivedAtMs: number, lsn = 100): (number | undefined)[] {
  const settled: (number | undefined)[] = [];
  epochs.hold('a', { sentAtMs, receivedAtMs, lsn, settle: (timeline) => settled.push(timeline) });
  return settled;
}

const record = (epoch: number, timeline: number, to: number, purges = false): void =>
  epochs.record({ epoch, timeline, to, purges });

const said = (epoch: number, askedAtMs: number): void =>
  epochs.said('a', { epoch, askedAtMs, answeredAtMs: askedAtMs + 1 });

test('an answer between two looks at the same epoch was served under it', () => {
  record(7, 3, 100);
  said(7, 10);
  const settled = hold(12, 13);
  expect(settled).toEqual([]);
  said(7, 20);
  expect(settled).toEqual([3]);
});

test('an answer around which the epoch changed belongs to nobody knows which', () => {
  record(7, 1, 100);
  record(8, 2, 100);
  said(7, 10);
  const settled = hold(12, 13);
  said(8, 20);
  expect(settled).toEqual([undefined]);
});

test('a slow answer counts from when it was asked for until it came', () => {
  record(7, 1, 100);
  const early = hold(9, 13);
  said(7, 10);
  const late = hold(15, 25);
  said(7, 20);
  expect([early, late]).toEqual([[undefined], []]);
  said(7, 30);
  expect(late).toEqual([1]);
});

test('an epoch that goes on over a promotion has two timelines, and the second begins when everything is given up', () => {
  record(7, 1, 100);
  record(7, 2, 100);
  record(7, 2, 200);
  record(7, 2, 300, true);
  record(7, 2, 400);
  said(7, 10);
  const settled = [hold(12, 13, 100), hold(12, 13, 200), hold(12, 13, 300), hold(12, 13, 400)];
  said(7, 20);
  expect(settled).toEqual([[1], [1], [2], [2]]);
});

test('a watermark whose record nobody has read yet is waited for', () => {
  said(7, 10);
  const settled = [hold(12, 13, 100), hold(12, 13, 200)];
  said(7, 20);
  expect(settled).toEqual([[], []]);
  record(7, 1, 100);
  expect(settled).toEqual([[1], []]);
  record(7, 2, 200, true);
  expect(settled).toEqual([[1], [2]]);
});

test('a watermark whose record was never read is not waited for once there is a later epoch', () => {
  said(7, 10);
  const settled = hold(12, 13, 100);
  said(7, 20);
  record(8, 1, 50);
  expect(settled).toEqual([undefined]);
});

test('what is held in the end is given up', () => {
  const settled = hold(12, 13);
  epochs.finish();
  expect(settled).toEqual([undefined]);
});
