import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Forgetting } from './forgetting.ts';

it('[I19] forgets what was flushed for as long as is asked for, never more, and not much later', () => {
  const looks = fc.array(fc.record({ afterMs: fc.integer({ min: 1, max: 400 }), writes: fc.nat(20) }), {
    maxLength: 300,
  });
  fc.assert(
    fc.property(looks, (given) => {
      const keepMs = 1_000;
      const forgetting = new Forgetting({ keepMs });
      const past: { atMs: number; offset: number }[] = [];
      let [nowMs, offset] = [0, 0];
      for (const { afterMs, writes } of given) {
        nowMs += afterMs;
        offset += writes;
        past.push({ atMs: nowMs, offset });
        const found = forgetting.at(nowMs, offset);
        const flushedBefore = (ageMs: number) => past.findLast(({ atMs }) => nowMs - atMs >= ageMs)?.offset ?? 0;
        expect(found).toBeLessThanOrEqual(flushedBefore(keepMs));
        expect(found).toBeGreaterThanOrEqual(flushedBefore(keepMs + keepMs / 100 + 400));
      }
    }),
  );
});
