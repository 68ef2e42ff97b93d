import { expect, it } from 'vitest';
import { LEASE_TTL_MS, testCore, tokenOf } from '../testing/core.ts';

// Flights that nobody waits for: a flood of misses for keys that nobody fills.

/** As many leases are out as a core of the tests has; see testing/core.ts. */
const LEASES = 1_000;

function flooded(count: number) {
  const core = testCore();
  core.stream.say();
  const { flights } = core.of('user');
  for (let i = 0; i < count; i++) core.get('user', `k${i}`);
  return { ...core, flights };
}

it('there are no more of them than leases, whose holders still have their turn', () => {
  const { flights, leases, get, put, of } = flooded(5 * LEASES);
  expect([leases.size, flights.size]).toEqual([LEASES, LEASES]);
  const last = get('user', `k${5 * LEASES - 1}`);
  const token = flights.get(`k${5 * LEASES - 1}`)?.lease?.token;
  put('user', `k${5 * LEASES - 1}`, token);
  expect([last.outcome?.kind, of('user').l1.entries]).toEqual(['value', 1]);
  expect(tokenOf(get('user', 'k0'))).toBeDefined();
});

it('are forgotten when their leases have expired, so many at once', () => {
  const { flights, leases, clock } = flooded(100);
  clock.advance(LEASE_TTL_MS + 1);
  const isOut = (lease: Parameters<typeof leases.isOut>[0]): boolean => leases.isOut(lease, clock.monotonicMs());
  flights.sweep(isOut, 40);
  expect(flights.size).toBe(60);
  flights.sweep(isOut, 100);
  expect(flights.size).toBe(0);
});

it('end with a flush, and who waits for one of them loads next', () => {
  const { flights, stream, get } = flooded(100);
  const waiting = get('user', 'k7');
  expect(waiting.outcome).toBeUndefined();
  flights.doomAll();
  expect(flights.size).toBe(1);
  stream.say();
  expect([tokenOf(waiting), flights.size]).toEqual([flights.get('k7')?.lease?.token, 1]);
});
