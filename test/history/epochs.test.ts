import { expect, test } from 'vitest';
import { Epochs } from './epochs.ts';

function hold(epochs: Epochs, sentAtMs: number, receivedAtMs: number): (number | undefined)[] {
  const settled: (number | undefined)[] = [];
  epochs.hold('a', { sentAtMs, receivedAtMs, settle: (timeline) => settled.push(timeline) });
  return settled;
}

const said = (epochs: Epochs, epoch: number, askedAtMs: number): void =>
  epochs.said('a', { epoch, askedAtMs, answeredAtMs: askedAtMs + 1 });

test('an answer between two looks at the same epoch was served under it', () => {
  const epochs = new Epochs();
  epochs.record(7, 3);
  said(epochs, 7, 10);
  const settled = hold(epochs, 12, 13);
  expect(settled).toEqual([]);
  said(epochs, 7, 20);
  expect(settled).toEqual([3]);
});

test('an answer around which the epoch changed belongs to nobody knows which', () => {
  const epochs = new Epochs();
  epochs.record(7, 1);
  epochs.record(8, 2);
  said(epochs, 7, 10);
  const settled = hold(epochs, 12, 13);
  said(epochs, 8, 20);
  expect(settled).toEqual([undefined]);
});

test('a slow answer counts from when it was asked for until it came', () => {
  const epochs = new Epochs();
  epochs.record(7, 1);
  const early = hold(epochs, 9, 13);
  said(epochs, 7, 10);
  const late = hold(epochs, 15, 25);
  said(epochs, 7, 20);
  expect([early, late]).toEqual([[undefined], []]);
  said(epochs, 7, 30);
  expect(late).toEqual([1]);
});

test('an epoch whose record nobody has read yet is waited for', () => {
  const epochs = new Epochs();
  said(epochs, 7, 10);
  const settled = hold(epochs, 12, 13);
  said(epochs, 7, 20);
  expect(settled).toEqual([]);
  epochs.record(7, 2);
  expect(settled).toEqual([2]);
});

test('what is held in the end is given up', () => {
  const epochs = new Epochs();
  const settled = hold(epochs, 12, 13);
  epochs.finish();
  expect(settled).toEqual([undefined]);
});
