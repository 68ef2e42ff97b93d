import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrequencySketch } from './sketch.ts';

const hash = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

describe('a frequency sketch', () => {
  it('never counts too little until it halves, nor more than 15, and keeps what it knows when it grows', () => {
    fc.assert(
      fc.property(fc.array(hash, { maxLength: 20 }), fc.array(fc.nat(), { maxLength: 300 }), (hashes, picks) => {
        fc.pre(hashes.length > 0);
        const sketch = new FrequencySketch();
        const counts = new Map<number, number>();
        picks.forEach((pick, i) => {
          const chosen = hashes[pick % hashes.length] as number;
          sketch.add(chosen);
          counts.set(chosen, (counts.get(chosen) ?? 0) + 1);
          if (i % 100 === 99) sketch.fit(i * 10);
        });
        for (const [each, count] of counts) {
          expect(sketch.count(each)).toBeGreaterThanOrEqual(Math.min(15, count));
          expect(sketch.count(each)).toBeLessThanOrEqual(15);
        }
      }),
    );
  });

  it('tells what was seen often from what was not, with as many keys as it has room for', () => {
    const sketch = new FrequencySketch();
    const of = (i: number): number => Math.imul(i + 1, 0x9e3779b1) ^ (i << 7);
    sketch.fit(4_096);
    for (let i = 0; i < 4_096; i++) for (let n = 0; n < (i < 512 ? 8 : 1); n++) sketch.add(of(i));
    const counts = Array.from({ length: 4_096 }, (_, i) => sketch.count(of(i)));
    expect(counts.slice(0, 512).every((count) => count >= 8)).toBe(true);
    expect(counts.slice(512).filter((count) => count >= 8).length).toBeLessThan(100);
  });

  it('halves all counts after a while', () => {
    const sketch = new FrequencySketch();
    for (let i = 0; i < 12; i++) sketch.add(7);
    for (let i = 0; i < sketch.sample; i++) sketch.add(Math.imul(i, 0x9e3779b1));
    expect(sketch.count(7)).toBeLessThan(12);
  });
});
