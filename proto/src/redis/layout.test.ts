import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fewNames } from '../testing/arbitraries.ts';
import { bucketKeys, bucketOf, chunkKeys, fenceMember } from './layout.ts';

/** The part of a key that Redis Cluster hashes: between the first "{" and the first "}" after it. */
function hashTag(key: string): string | undefined {
  return /\{([^}]+)\}/.exec(key)?.[1];
}

describe('bucketKeys', () => {
  it('puts every key of a bucket into one slot of a cluster, whatever the cached key looks like', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(1023), (key, bucket) => {
        const keys = bucketKeys('main', bucket);
        const named = `{${key}}`;
        const all = [
          ...[keys.log, keys.keyFences, keys.tagFences, keys.pair('00ff'), keys.entry('g', '00ff', named)],
          ...[keys.plain('plain', named), keys.claim('00ff', named), keys.chunk('of-this-one-fill', 0)],
        ];
        for (const one of all) expect(hashTag(one)).toBe(`main:${bucket}`);
        expect(new Set(all).size).toBe(all.length);
      }),
    );
  });

  it('[I7] [I8] entries of another generation, other rules or another key have other names', () => {
    const hex = fc.constantFrom('0000000000000001', '0000000000000002');
    const triple = fc.tuple(fc.constantFrom('g1', 'g2'), hex, fc.oneof(fewNames, fc.string()));
    const keys = bucketKeys('main', 0);
    fc.assert(
      fc.property(triple, triple, (one, two) => {
        expect(keys.entry(...one) === keys.entry(...two)).toBe(one.join('\0') === two.join('\0'));
      }),
    );
  });

  it('[I7] fence members of two namespaces differ for every name', () => {
    expect(fenceMember('0000000000000001', 'k')).not.toBe(fenceMember('0000000000000002', 'k'));
  });
});

describe('chunkKeys', () => {
  const keys = bucketKeys('main', 0);

  it('are those of as many chunks as a script says', () => {
    expect(chunkKeys(keys, '3:of-this-one-fill')).toEqual([0, 1, 2].map((i) => keys.chunk('of-this-one-fill', i)));
  });

  it.each([
    '',
    '3:',
    'x:of-this-one-fill',
    '3:of-this-one-fil',
    '3:of-this-one-fil}',
    '3:of-this-one-fill:',
    '999999:of-this-one-fill',
  ])('%j names none', (gone) => {
    expect(chunkKeys(keys, gone)).toEqual([]);
  });
});

describe('bucketOf', () => {
  it('is a bucket, the same in every process, and uses all of them', () => {
    const used = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      const bucket = bucketOf(16, '00ff', `k${i}`);
      expect(bucketOf(16, '00ff', `k${i}`)).toBe(bucket);
      used.add(bucket);
    }
    expect([...used].toSorted((a, b) => a - b)).toEqual(Array.from({ length: 16 }, (_, i) => i));
    expect(bucketOf(1, '00ff', 'k')).toBe(0);
  });
});
