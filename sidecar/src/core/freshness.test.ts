import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutTimes, mayStandIn, timesOf, USUAL, worthOf, type Accepts, type Times } from './freshness.ts';

const SECOND = 1000;
const ttl = { soft: 60 * SECOND, hard: 300 * SECOND, negative: 5 * SECOND, staleIfError: 600 * SECOND, jitter: 0 };
const said = {};
const at = (more: object = {}): Times => timesOf(ttl, { absent: false, said, storedAtMs: 0, fraction: 0, ...more });

const lifetime = fc.record(
  {
    maxAgeMs: fc.integer({ min: 1, max: 1e9 }),
    staleWhileRevalidateMs: fc.nat(1e9),
    staleIfErrorMs: fc.nat(1e9),
  },
  { requiredKeys: [] },
);
const anyTtl = fc
  .record({
    soft: fc.option(fc.integer({ min: 1000, max: 1e9 }), { nil: undefined }),
    hard: fc.integer({ min: 1000, max: 1e9 }),
    negative: fc.integer({ min: 1000, max: 1e9 }),
    staleIfError: fc.nat(1e9),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ soft, ...rest }) => ({ ...rest, ...(soft !== undefined && { soft: Math.min(soft, rest.hard) }) }));

describe('the times of a value', () => {
  it('are in order and within what the namespace allows, whatever the value says of itself', () => {
    const anyValue = fc.record({
      of: anyTtl,
      says: lifetime,
      absent: fc.boolean(),
      storedAtMs: fc.nat(2e12),
      fraction: fc.double({ min: 0, max: 0.999, noNaN: true }),
    });
    fc.assert(
      fc.property(anyValue, ({ of, says, absent, storedAtMs, fraction }) => {
        const times = timesOf(of, { absent, said: says, storedAtMs, fraction });
        const { freshUntilMs, expiresAtMs, keepUntilMs } = times;
        expect(storedAtMs < freshUntilMs && freshUntilMs <= expiresAtMs && expiresAtMs <= keepUntilMs).toBe(true);
        const longestMs = absent ? of.negative : of.hard;
        expect(expiresAtMs - storedAtMs).toBeLessThanOrEqual(longestMs);
        expect(keepUntilMs - storedAtMs).toBeLessThanOrEqual(longestMs + of.staleIfError);
        if (says.maxAgeMs !== undefined) expect(freshUntilMs - storedAtMs).toBeLessThanOrEqual(says.maxAgeMs);
        // What was cut once is not cut again.
        const entry = { ...times, absent } as Parameters<typeof cutTimes>[0];
        expect(cutTimes(entry, of)).toBe(entry);
      }),
    );
  });

  it.each([
    ['the namespace alone', {}, [60, 300, 900]],
    ['an age: not beyond it', { maxAgeMs: 30 * SECOND }, [30, 30, 630]],
    [
      'an age and stale-while-revalidate',
      { maxAgeMs: 30 * SECOND, staleWhileRevalidateMs: 10 * SECOND },
      [30, 40, 640],
    ],
    ['more than the namespace allows', { maxAgeMs: 1e9, staleWhileRevalidateMs: 1e9 }, [60, 300, 900]],
    [
      'stale-if-error, from the end of freshness on',
      { maxAgeMs: 30 * SECOND, staleIfErrorMs: 20 * SECOND },
      [30, 30, 50],
    ],
    ['no stale-if-error', { staleIfErrorMs: 0 }, [60, 300, 300]],
  ])('%s', (_, says, [fresh, hard, keep]) => {
    const { freshUntilMs, expiresAtMs, keepUntilMs } = at({ said: says });
    expect([freshUntilMs, expiresAtMs, keepUntilMs].map((ms) => ms / SECOND)).toEqual([fresh, hard, keep]);
  });

  it('of a row that does not exist know neither a soft TTL nor errors', () => {
    expect(at({ absent: true })).toEqual({ storedAtMs: 0, freshUntilMs: 5000, expiresAtMs: 5000, keepUntilMs: 5000 });
  });

  it('are shorter by the jitter, all of them', () => {
    const times = timesOf({ ...ttl, jitter: 0.5 }, { absent: false, said, storedAtMs: 0, fraction: 0.5 });
    expect([times.freshUntilMs, times.expiresAtMs]).toEqual([45 * SECOND, 225 * SECOND]);
  });
});

describe('what an entry is worth', () => {
  const worth = (seconds: number, accepts: Partial<Accepts> = {}): string =>
    worthOf(at(), { ...USUAL, ...accepts }, seconds * SECOND);

  it('to a caller who says nothing: fresh, then aging, then nothing', () => {
    expect([0, 59.9, 60, 299.9, 300, 899].map((seconds) => worth(seconds))).toEqual([
      ...['fresh', 'fresh', 'aging', 'aging'],
      ...['refused', 'refused'],
    ]);
  });

  it('to a caller who takes what is stale: for so long after its freshness, while it is kept', () => {
    const maxStaleMs = 400 * SECOND;
    expect([300, 460, 461].map((seconds) => worth(seconds, { maxStaleMs }))).toEqual(['stale', 'stale', 'refused']);
    const anyMs = Number.POSITIVE_INFINITY;
    expect([899.9, 900].map((seconds) => worth(seconds, { maxStaleMs: anyMs }))).toEqual(['stale', 'refused']);
  });

  it('to a caller who wants it young, or fresh for a while', () => {
    expect([10, 11].map((seconds) => worth(seconds, { maxAgeMs: 10 * SECOND }))).toEqual(['fresh', 'refused']);
    expect([50, 51].map((seconds) => worth(seconds, { minFreshMs: 10 * SECOND }))).toEqual(['fresh', 'refused']);
    expect(worth(70, { maxAgeMs: 10 * SECOND, maxStaleMs: 60 * SECOND })).toBe('aging');
  });

  it('where it cannot be loaded anew: as long as it is kept, or as the caller says', () => {
    const stands = (seconds: number, staleIfErrorMs?: number): boolean =>
      mayStandIn(at(), { ...USUAL, staleIfErrorMs }, seconds * SECOND);
    expect([stands(899.9), stands(900)]).toEqual([true, false]);
    expect([stands(70, 10 * SECOND), stands(71, 10 * SECOND), stands(60.1, 0)]).toEqual([true, false, false]);
  });
});
