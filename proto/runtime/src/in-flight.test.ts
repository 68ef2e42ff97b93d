import fc from 'fast-check';
import { expect, it } from 'vitest';
import { InFlight } from './in-flight.ts';

const LIMITS = { most: 5, mostBytes: 100, lifeMs: 50 };

it('counts what is neither over nor older than it can live, and lets in what has room beside that', () => {
  const step = fc.oneof(
    fc.record({ bytes: fc.nat(60), passMs: fc.nat(20) }),
    fc.record({ ends: fc.nat(), passMs: fc.nat(5) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const inFlight = new InFlight(LIMITS);
      const known: { atMs: number; bytes: number; over: boolean; end: () => void }[] = [];
      let nowMs = 0;
      for (const each of steps) {
        nowMs += each.passMs;
        if ('ends' in each) {
          const one = known[each.ends % Math.max(1, known.length)];
          if (one !== undefined) {
            one.over = true;
            one.end();
            one.end();
          }
          continue;
        }
        const alive = known.filter(({ atMs, over }) => !over && nowMs - atMs <= LIMITS.lifeMs);
        const sum = alive.reduce((total, { bytes }) => total + bytes, 0);
        const end = inFlight.enter(each.bytes, nowMs);
        expect(end !== undefined).toBe(alive.length < LIMITS.most && sum + each.bytes <= LIMITS.mostBytes);
        if (end !== undefined) known.push({ atMs: nowMs, bytes: each.bytes, over: false, end });
        expect(inFlight.count).toBe(alive.length + (end === undefined ? 0 : 1));
      }
    }),
  );
});
