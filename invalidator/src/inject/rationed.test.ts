import { expect, it } from 'vitest';
import { Rationed } from './rationed.ts';

it('is said so often and no more, and tells afterwards how often it was not', () => {
  const warnings = new Rationed({ most: 2, perMs: 1_000 });
  const told = [0, 1, 2, 3, 999, 1_000, 1_001, 1_002, 2_500].map((nowMs) => warnings.admit(nowMs));
  expect(told).toEqual([0, 0, undefined, undefined, undefined, 3, 0, undefined, 1]);
});
