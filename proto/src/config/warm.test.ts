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
    [{ cron: '* * * * *' }, 'warm'],
  ])('refuses %j', (settings, where) => {
    const result = parsed(settings);
    expect(result.ok ? [] : result.issues.map(({ path }) => path).join()).toContain(where);
  });

  it('refuses keys from SQL where a key has several values', () => {
    expect(parsed({ sql: 'select 1' }, { vary: { headers: ['accept-language'] } })).toMatchObject({
      ok: false,
      issues: [{ path: 'namespaces.user.warm.sql' }],
    });
  });
});
