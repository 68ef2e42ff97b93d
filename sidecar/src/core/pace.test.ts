import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Pace } from './pace.ts';

const quiet = { underWay: 0, waiting: 0 };

describe('the pace of warming', () => {
  it('is the rate while nobody waits', () => {
    const pace = new Pace({ rate: 100, concurrency: 4, nowMs: 0 });
    let begun = 0;
    for (let nowMs = 0; nowMs < 10_000; nowMs++) if (pace.next(nowMs, quiet).begins) begun += 1;
    expect(begun).toBeGreaterThanOrEqual(999);
    expect(begun).toBeLessThanOrEqual(1_001);
  });

  it('is four a second, one at a time, while requests wait', () => {
    const pace = new Pace({ rate: 1_000, concurrency: 8, nowMs: 0 });
    let begun = 0;
    for (let nowMs = 0; nowMs < 10_000; nowMs++) if (pace.next(nowMs, { underWay: 0, waiting: 3 }).begins) begun += 1;
    expect(begun).toBeLessThanOrEqual(41);
    expect(begun).toBeGreaterThanOrEqual(39);
    expect(pace.next(20_000, { underWay: 1, waiting: 3 })).toEqual({ begins: false, waitMs: 250 });
  });

  it('never exceeds rate and concurrency, waits for requests, and comes to its turn when it has waited as told', () => {
    const step = fc.record({ passMs: fc.nat(500), underWay: fc.nat(10), waiting: fc.constantFrom(0, 0, 1, 50) });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2_000 }),
        fc.integer({ min: 1, max: 8 }),
        fc.array(step, { maxLength: 200 }),
        (rate, concurrency, steps) => {
          const pace = new Pace({ rate, concurrency, nowMs: 0 });
          let nowMs = 0;
          let begun = 0;
          let lastMs = Number.NEGATIVE_INFINITY;
          for (const { passMs, ...load } of steps) {
            nowMs += passMs;
            const turn = pace.next(nowMs, load);
            if (!turn.begins) {
              expect(turn.waitMs).toBeGreaterThan(0);
              const later = pace.next(nowMs + turn.waitMs, { underWay: 0, waiting: load.waiting });
              nowMs += turn.waitMs;
              expect(later.begins).toBe(true);
            } else {
              expect(load.underWay).toBeLessThan(concurrency);
              if (load.waiting > 0) {
                expect(load.underWay).toBe(0);
                expect(nowMs - lastMs).toBeGreaterThanOrEqual(250);
              }
            }
            begun += 1;
            lastMs = nowMs;
            expect(begun).toBeLessThanOrEqual(concurrency + 1 + (nowMs * rate) / 1000);
          }
        },
      ),
    );
  });
});
