import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hash32, hash64 } from './hash.ts';
import { text } from './testing/arbitraries.ts';

describe('hash64', () => {
  it('is FNV-1a: the vectors of its authors', () => {
    expect(hash64('')).toBe(0xcbf29ce484222325n);
    expect(hash64('a')).toBe(0xaf63dc4c8601ec8cn);
    expect(hash64('foobar')).toBe(0x85944171f73967e8n);
  });

  it('hashes the UTF-8 form', () => {
    let expected = 0xcbf29ce484222325n;
    for (const byte of [0xe2, 0x82, 0xac]) expected = BigInt.asUintN(64, (expected ^ BigInt(byte)) * 0x100000001b3n);
    expect(hash64('€')).toBe(expected);
  });
});

describe('hash32', () => {
  it('is an unsigned 32-bit integer that depends on seed and text only', () => {
    fc.assert(
      fc.property(fc.nat(1000), text, (seed, value) => {
        const hash = hash32(seed, value);
        expect(hash).toBe(hash >>> 0);
        expect(hash32(seed, value)).toBe(hash);
      }),
    );
  });

  it('spreads what keys look like over the low bits, whatever the seed', () => {
    const slots = 1024;
    for (const seed of [0, 1, 7]) {
      const filled = new Set(Array.from({ length: slots }, (_, i) => hash32(seed, `user:${i}`) & (slots - 1)));
      // Balls into bins: 1 - 1/e of the slots are hit; a poor hash hits far fewer.
      expect(filled.size).toBeGreaterThan(0.6 * slots);
    }
  });

  it('no two of the names that namespaces are likely to share collide because their seeds differ', () => {
    const ids = Array.from({ length: 200 }, (_, i) => `${i}`);
    const hashes = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((seed) => ids.map((id) => hash32(seed, id)));
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});
