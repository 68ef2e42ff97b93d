import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Dice } from '../testing/random.ts';
import { HotKeys } from './hot-keys.ts';

/** Reads as the hit path does. */
function read(hot: HotKeys, key: string): void {
  if (--hot.countdown < 0) hot.sample(key);
}

describe('the hottest keys', () => {
  it('are found among a hundred thousand others, in order', () => {
    const hot = new HotKeys(256);
    const dice = new Dice(3);
    const top = Array.from({ length: 8 }, (_, i) => `hot-${i}`);
    for (let i = 0; i < 400_000; i++) {
      const n = Math.floor(dice.fraction() * 100);
      // 36 % of the reads are of the eight: 8 % of the first, 1 % of the last.
      const rank = top.findIndex((_, k) => n < ((k + 1) * (16 - k)) / 2);
      read(hot, rank < 0 ? `cold-${Math.floor(dice.fraction() * 100_000)}` : (top[rank] as string));
    }
    expect(hot.hottest(8).toSorted()).toEqual(top);
    expect(hot.hottest(3)).toEqual(top.slice(0, 3));
    expect(hot.size).toBeLessThanOrEqual(256);
    expect([hot.isAmong('hot-0', 8), hot.isAmong('cold-1', 8)]).toEqual([true, false]);
  });

  it('are not always the same one of those that are read in turn', () => {
    const hot = new HotKeys(64);
    for (let i = 0; i < 32_000; i++) read(hot, `k${i % 32}`);
    expect(hot.size).toBe(32);
  });

  it('make room for those that are hot now', () => {
    const hot = new HotKeys(16);
    for (let i = 0; i < 1_000; i++) hot.sample('before');
    for (let i = 0; i < 1_000; i++) hot.sample('now');
    expect(hot.hottest(1)).toEqual(['now']);
    for (let i = 0; i < 4_000; i++) hot.sample(`k${i % 8}`);
    expect(hot.hottest(8)).not.toContain('before');
  });

  it('every key with more than its share of the samples has a counter, and no count is too low', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 12 }), { maxLength: 60 }), (reads) => {
        const most = 8;
        const hot = new HotKeys(most);
        const counts = new Map<string, number>();
        for (const n of reads) {
          hot.sample(`k${n}`);
          counts.set(`k${n}`, (counts.get(`k${n}`) ?? 0) + 1);
        }
        const kept = new Set(hot.hottest(most));
        expect(kept.size).toBe(Math.min(most, counts.size));
        for (const [key, count] of counts) if (count > reads.length / most) expect(kept.has(key)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
