import { describe, expect, it } from 'vitest';
import { LoadFailures } from './load-failures.ts';
import type { LoadFailure } from './ports.ts';

const ERROR: LoadFailure = { why: 'error', detail: 'it broke' };

/** How long after a failure nothing is loaded, by looking every millisecond. */
function pauseMs(failures: LoadFailures, nowMs: number): number {
  for (let ms = 0; ms < 10_000; ms += 1) if (failures.of('k', nowMs + ms) === undefined) return ms;
  return Number.POSITIVE_INFINITY;
}

describe('a load that failed', () => {
  it('is not tried again for a while, which grows to a second', () => {
    const failures = new LoadFailures();
    const pauses: number[] = [];
    let nowMs = 1_000;
    for (let i = 0; i < 6; i += 1) {
      failures.failed('k', ERROR, nowMs);
      pauses.push(pauseMs(failures, nowMs));
      nowMs += pauses.at(-1)!;
    }
    expect(pauses).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(failures.of('other', nowMs)).toBeUndefined();
  });

  it('is forgotten once it succeeds, or when it was long ago', () => {
    const failures = new LoadFailures();
    for (let i = 0; i < 3; i += 1) failures.failed('k', ERROR, 1_000);
    failures.succeeded('k');
    expect(failures.of('k', 1_000)).toBeUndefined();
    for (let i = 0; i < 3; i += 1) failures.failed('k', ERROR, 1_000);
    failures.failed('k', ERROR, 5_000);
    expect(pauseMs(failures, 5_000)).toBe(100);
  });

  it('says nothing of the next one where it was not tried', () => {
    const failures = new LoadFailures();
    for (const why of ['busy', 'open', 'changing'] as const) failures.failed('k', { why, detail: '' }, 1_000);
    expect(failures.of('k', 1_000)).toBeUndefined();
  });

  it('is remembered for a bounded number of keys', () => {
    const failures = new LoadFailures();
    for (let i = 0; i <= 1_000; i += 1) failures.failed(`k${i}`, ERROR, 1_000);
    expect([failures.of('k0', 1_000), failures.of('k1', 1_000)]).toEqual([undefined, ERROR]);
  });
});
