import { describe, expect, it } from 'vitest';
import { parseConfig } from '../config.ts';

function parsed(l1: object) {
  return parseConfig({
    sources: { main: { topic: 't' } },
    namespaces: { users: { source: 'main', invalidation: 'ttl_only', l1 } },
  });
}

describe('l1', () => {
  it.each([
    ['no entries', { maxEntries: 0 }, 'maxEntries', 'found 0, expected at least 1'],
    ['a part of an entry', { maxEntries: 1.5 }, 'maxEntries', 'found 1.5, expected a whole number'],
    [
      'an unknown policy',
      { policy: 'arc' },
      'policy',
      'found "arc", expected "lru" or "lfu" or "fifo" or "random" or "ttl"',
    ],
  ])('refuses %s', (_, l1, key, message) => {
    expect(parsed(l1)).toEqual({ ok: false, issues: [{ path: `namespaces.users.l1.${key}`, message }] });
  });

  it.each([{ maxEntries: 1 }, { maxEntries: 100_000_000 }, { policy: 'ttl' }])('takes %o', (l1) => {
    expect(parsed(l1)).toMatchObject({ ok: true, config: { namespaces: { users: { l1 } } } });
  });

  it('evicts what was not used for the longest time, unless it is told otherwise', () => {
    const result = parsed({});
    expect(result.ok && result.config.namespaces['users']?.l1).toEqual({ maxBytes: 64 * 1024 ** 2, policy: 'lru' });
  });
});
