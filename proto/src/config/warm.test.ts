import { describe, expect, it } from 'vitest';
import { parseConfig } from '../config.ts';

const parsed = (settings: object, more: object = {}) =>
  parseConfig({
    sources: { main: { topic: 't' } },
    namespaces: {
      user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }], warm: settings, ...more },
    },
  });

describe('warm', () => {
  it('has defaults that spare the database', () => {
    const result = parsed({});
    expect(result.ok && result.config.namespaces['user']?.warm).toEqual({
      ...{ atStart: 1000, every: undefined, sql: undefined, most: 10_000, rate: 200, concurrency: 4 },
    });
  });

  it('is nothing where it is not asked for', () => {
    const result = parsed({}, { warm: undefined });
    expect(result.ok && result.config.namespaces['user']?.warm).toBeUndefined();
  });

  it('reads rates and durations', () => {
    const result = parsed({ every: '1h', rate: '0.5/s' });
    expect(result).toMatchObject({
      ok: false,
      issues: [{ message: 'found "0.5/s", expected a rate from 1/s to 10000/s' }],
    });
    expect(parsed({ every: '1h', rate: '20/s' })).toMatchObject({
      ok: true,
      config: { namespaces: { user: { warm: { every: 3_600_000, rate: 20 } } } },
    });
  });

  it.each([
    [{ rate: '20' }, 'rate'],
    [{ every: '10s' }, 'every'],
    [{ concurrency: 0 }, 'concurrency'],
    [{ atStart: -1 }, 'atStart'],
    [{ sql: '' }, 'sql'],
    [{ cronn: '* * * * *' }, 'warm'],
    [{ cron: '* * * * *', every: '1h' }, 'cron'],
    [{ timezone: 'UTC' }, 'timezone'],
    [{ cron: '0 6 * * *', timezone: 'Europe/Atlantis' }, 'timezone'],
    [{ cron: 'x'.repeat(101) }, 'cron'],
  ])('refuses %j', (settings, where) => {
    const result = parsed(settings);
    expect(result.ok ? [] : result.issues.map(({ path }) => path).join()).toContain(where);
  });

  it('knows times of the day', () => {
    for (const more of [{}, { timezone: 'Europe/Berlin' }])
      expect(parsed({ cron: '0 6 * * 1-5', ...more })).toMatchObject({
        ok: true,
        config: { namespaces: { user: { warm: { cron: '0 6 * * 1-5', ...more } } } },
      });
  });

  it.each([
    ['0 25 * * *', 'found "0 25 * * *", expected minute, hour, day of the month, month and day of the week, such as '],
    ['* * * * * *', 'found "* * * * * *", expected minute, hour, '],
    ['0 6 * * * 2020', 'expected minute, hour, '],
    ['', 'found "", expected minute, hour, '],
    ['often', 'found "often", expected minute, hour, '],
    ['0 0 30 2 *', 'found "0 0 30 2 *", expected times that come: there is no such day'],
  ])('says what is wrong with %j', (cron, message) => {
    const result = parsed({ cron });
    expect(result.ok ? [] : result.issues).toEqual([
      { path: 'namespaces.user.warm.cron', message: expect.stringContaining(message) },
    ]);
  });

  it('refuses keys from SQL where a key has several values', () => {
    expect(parsed({ sql: 'select 1' }, { vary: { headers: ['accept-language'] } })).toMatchObject({
      ok: false,
      issues: [{ path: 'namespaces.user.warm.sql' }],
    });
  });
});
