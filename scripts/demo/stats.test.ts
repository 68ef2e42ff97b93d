import { expect, test } from 'vitest';
import { hitRatio, Latencies, noTotals, quantiles, RateWindow, type Totals } from './stats.ts';

function totals(l1: number, l2: number, postgres: number, writes: number): Totals {
  return { reads: { l1, l2, postgres }, writes };
}

test('rates are those of the span, not of the whole run', () => {
  const window = new RateWindow({ spanMs: 2_000, nowMs: 0 });
  expect(window.perSecond()).toEqual(noTotals);
  window.note(1_000, totals(100, 0, 0, 10));
  expect(window.perSecond()).toEqual(totals(100, 0, 0, 10));
  window.note(2_000, totals(100, 0, 0, 10));
  window.note(3_000, totals(300, 20, 10, 30));
  window.note(4_000, totals(500, 40, 20, 50));
  expect(window.perSecond()).toEqual(totals(200, 20, 10, 20));
});

test('the hit ratio is what did not go to Postgres', () => {
  expect(hitRatio({ l1: 90, l2: 5, postgres: 5 })).toBeCloseTo(0.95);
  expect(hitRatio(noTotals.reads)).toBeUndefined();
});

test('quantiles are those of the samples', () => {
  const samples = Array.from({ length: 200 }, (_, at) => 200 - at);
  expect(quantiles(samples)).toEqual({ count: 200, p50Ms: 100, p99Ms: 198, maxMs: 200 });
  expect(quantiles([3])).toEqual({ count: 1, p50Ms: 3, p99Ms: 3, maxMs: 3 });
  expect(quantiles([])).toBeUndefined();
});

test('latencies are told of all time or since a time', () => {
  const latencies = new Latencies();
  latencies.add(1_000, 50);
  latencies.add(2_000, 5);
  expect(latencies.since()?.maxMs).toBe(50);
  expect(latencies.since(1_500)).toMatchObject({ count: 1, maxMs: 5 });
  expect(latencies.since(3_000)).toBeUndefined();
});
