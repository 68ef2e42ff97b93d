import { expect, test } from 'vitest';
import { parseOptions } from './options.ts';

test('without arguments it runs until it is asked to end, with a view where there is a terminal', () => {
  expect(parseOptions([], true)).toEqual({
    seconds: undefined,
    plain: false,
    chaos: false,
    seed: 1,
    readsPerSecond: 2000,
    writesPerSecond: 40,
    wrongRule: false,
  });
  expect(parseOptions([], false)).toMatchObject({ plain: true });
});

test('arguments are taken', () => {
  const args = [
    '--seconds',
    '2.5',
    '--plain',
    '--chaos',
    '--seed=7',
    '--reads',
    '100',
    '--writes',
    '5',
    '--wrong-rule',
  ];
  expect(parseOptions(args, true)).toEqual({
    seconds: 2.5,
    plain: true,
    chaos: true,
    seed: 7,
    readsPerSecond: 100,
    writesPerSecond: 5,
    wrongRule: true,
  });
  expect(parseOptions(['--help', '--seconds', '5'], true)).toBe('help');
});

test('what is wrong is told in a sentence', () => {
  expect(() => parseOptions(['--seconds', 'ten'], true)).toThrow('--seconds is "ten", but must be a number above 0');
  expect(() => parseOptions(['--seconds', '0'], true)).toThrow('--seconds');
  expect(() => parseOptions(['--reads', '1e9'], true)).toThrow('at most 100000');
  expect(() => parseOptions(['--fast'], true)).toThrow(/--fast.*--help/);
});
