import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseKeyPattern } from './key-pattern.ts';

const read = (pattern: string, key: string): unknown => {
  const values = parseKeyPattern(pattern).match(key);
  return values && Object.fromEntries(values);
};

describe('a key', () => {
  it.each([
    ['by-email:{email}', 'by-email:a@b', { key: 'by-email:a@b', email: 'a@b' }],
    ['by-email:{email}', 'by-email:', undefined],
    ['by-email:{email}', 'x-by-email:a', undefined],
    ['{a}:{b}', 'x:y:z', { key: 'x:y:z', a: 'x', b: 'y:z' }],
    ['{a}:{b}', ':y:z', { key: ':y:z', a: ':y', b: 'z' }],
    ['{a}:{b}', 'x:', undefined],
    ['{a}.json', 'x.json.json', { key: 'x.json.json', a: 'x.json' }],
    ['{a}.json', '.json', undefined],
    ['{a}ab{b}ba', '1aba', undefined],
    ['{a}ab{b}ba', '1ab2ba', { key: '1ab2ba', a: '1', b: '2' }],
    ['all', 'all', { key: 'all' }],
    ['all', 'all2', undefined],
    ['{key}', 'whatever', { key: 'whatever' }],
    ['{{{a}}}', '{x}', { key: '{x}', a: 'x' }],
    ['{constructor}', 'x', { key: 'x', constructor: 'x' }],
  ])('by %s of %s', (pattern, key, values) => {
    expect(read(pattern, key)).toEqual(values);
  });

  it('that is matched is what its values give, and no value is empty', () => {
    const literal = fc.string({ unit: fc.constantFrom('a', ':', '-'), minLength: 1, maxLength: 3 });
    const pattern = fc.tuple(fc.option(literal, { nil: '' }), literal, fc.option(literal, { nil: '' }));
    const key = fc.string({ unit: fc.constantFrom('a', ':', '-', 'é'), maxLength: 12 });
    fc.assert(
      fc.property(pattern, key, ([before, between, after], text) => {
        const values = parseKeyPattern(`${before}{x}${between}{y}${after}`).match(text);
        const fits = new RegExp(`^${before}.+?${between}.+${after}$`, 'su').test(text);
        expect(values !== undefined).toBe(fits);
        if (values === undefined) return;
        expect(`${before}${values.get('x')}${between}${values.get('y')}${after}`).toBe(text);
        expect([values.get('x'), values.get('y')]).not.toContain('');
      }),
      { numRuns: 2000 },
    );
  });
});

it.each([
  ['{a}{b}', 'nothing stands between {a} and {b}'],
  ['{a}-{a}', '{a} stands there twice'],
  ['x{key}', 'a part of it needs another name'],
  ['{a', 'begins no column name'],
])('the pattern %s is refused: %s', (pattern, because) => {
  expect(() => parseKeyPattern(pattern)).toThrow(because);
});
