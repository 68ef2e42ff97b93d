import { expect, test } from 'vitest';
import { Availability } from './availability.ts';

test('a tenth of a second counts when something was refused in it and nothing was better', () => {
  const availability = new Availability();
  availability.note('a', { fromMs: 10, toMs: 20, good: false });
  availability.note('a', { fromMs: 30, toMs: 40, good: true });
  expect(availability.unavailableSeconds).toBe(0);
  availability.note('b', { fromMs: 10, toMs: 20, good: false });
  availability.note('b', { fromMs: 30, toMs: 40, good: false });
  expect(availability.unavailableSeconds).toBe(0.1);
});

test('a read that failed counts for as long as it took, one that came counts when it came', () => {
  const availability = new Availability();
  availability.note('a', { fromMs: 0, toMs: 950, good: false });
  expect(availability.unavailableSeconds).toBe(1);
  availability.note('a', { fromMs: 0, toMs: 550, good: true });
  expect(availability.unavailableSeconds).toBe(0.9);
});
