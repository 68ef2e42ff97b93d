import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextCronMs } from './cron.ts';

const next = (cron: string, timezone: string, after: string): string | undefined => {
  const ms = nextCronMs({ cron, timezone }, Date.parse(after));
  return ms === undefined ? undefined : new Date(ms).toISOString();
};

describe('an expression of cron', () => {
  it.each([
    ['0 6 * * *', 'UTC', '2026-03-28T06:00:00.000Z', '2026-03-29T06:00:00.000Z'],
    ['0 6 * * *', 'UTC', '2026-03-28T05:59:59.999Z', '2026-03-28T06:00:00.000Z'],
    // Summer time begins on that day.
    ['0 6 * * *', 'Europe/Berlin', '2026-03-28T12:00:00.000Z', '2026-03-29T04:00:00.000Z'],
    ['30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00.000Z', '2026-03-29T01:00:00.000Z'],
    // And ends.
    ['30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00.000Z', '2026-10-25T00:30:00.000Z'],
    ['30 2 * * *', 'Europe/Berlin', '2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z'],
    ['0 12 * * MON-FRI', 'UTC', '2026-03-28T12:00:00.000Z', '2026-03-30T12:00:00.000Z'],
    ['0 0 29 2 *', 'UTC', '2026-03-28T12:00:00.000Z', '2028-02-29T00:00:00.000Z'],
    ['0 0 30 2 *', 'UTC', '2026-03-28T12:00:00.000Z', undefined],
  ])('%s in %s is due after %s at %s', (cron, timezone, after, expected) => {
    expect(next(cron, timezone, after)).toBe(expected);
  });

  it('is due at the first minute that it names, whenever it is asked', () => {
    const minute = fc.integer({ min: 0, max: 59 });
    const hour = fc.integer({ min: 0, max: 23 });
    const atMs = fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) });
    fc.assert(
      fc.property(minute, hour, atMs, (m, h, afterMs) => {
        const day = 86_400_000;
        const ofDay = (h * 60 + m) * 60_000;
        const expected = Math.floor((afterMs - ofDay) / day + 1) * day + ofDay;
        expect(nextCronMs({ cron: `${m} ${h} * * *`, timezone: 'UTC' }, afterMs)).toBe(expected);
      }),
    );
  });
});
