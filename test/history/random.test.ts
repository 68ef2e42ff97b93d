import { expect, test } from 'vitest';
import { seededRandom, shuffled, zipf } from './random.ts';

test('a seed gives the same numbers again, from 0 up to 1', () => {
  const take = (seed: number): number[] => Array.from({ length: 1000 }, seededRandom(seed));
  expect(take(7)).toEqual(take(7));
  expect(take(7)).not.toEqual(take(8));
  expect(Math.min(...take(7))).toBeGreaterThanOrEqual(0);
  expect(Math.max(...take(7))).toBeLessThan(1);
});

test('a shuffle loses nothing', () => {
  const items = ['a', 'b', 'c', 'd', 'e'];
  expect(shuffled(seededRandom(3), items).toSorted()).toEqual(items);
  expect(items).toEqual(['a', 'b', 'c', 'd', 'e']);
});

test('a Zipf choice takes the first rank about twice as often as the second, and reaches the last', () => {
  const counts = Array.from({ length: 50 }, () => 0);
  const next = zipf(seededRandom(1), counts.length);
  for (let draws = 0; draws < 100_000; draws += 1) counts[next()]! += 1;
  expect(counts[0]! / counts[1]!).toBeCloseTo(2, 0);
  expect(counts.every((count) => count > 0)).toBe(true);
});
