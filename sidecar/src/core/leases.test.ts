import fc from 'fast-check';
import { expect, it } from 'vitest';
import { testCore } from '../testing/core.ts';
import { Leases } from './leases.ts';

const namespace = testCore().of('user').rules!;
const lease = (token: string) => ({ token, namespace, key: 'k', epoch: 1, asOf: 1000 });

it('serve one fill', () => {
  const leases = new Leases({ ttlMs: 100, most: 10 });
  leases.grant(lease('a'), 0);
  expect(leases.take('a', 50)).toMatchObject({ token: 'a', asOf: 1000 });
  expect(leases.take('a', 50)).toBeUndefined();
  expect(leases.take('never granted', 50)).toBeUndefined();
});

it('last exactly as long as they say', () => {
  const leases = new Leases({ ttlMs: 100, most: 10 });
  leases.grant(lease('a'), 0);
  leases.grant(lease('b'), 0);
  expect(leases.take('a', 100)).toBeDefined();
  expect(leases.take('b', 101)).toBeUndefined();
});

it('forget the oldest when there are too many', () => {
  const leases = new Leases({ ttlMs: 100, most: 2 });
  for (const token of ['a', 'b', 'c']) leases.grant(lease(token), 0);
  expect(['a', 'b', 'c'].map((token) => leases.take(token, 0)?.token)).toEqual([undefined, 'b', 'c']);
});

it('agree with a plain list, whatever is granted and taken when', () => {
  const command = fc.record({
    grant: fc.boolean(),
    token: fc.nat({ max: 20 }).map(String),
    laterMs: fc.nat({ max: 40 }),
  });
  fc.assert(
    fc.property(fc.array(command), (commands) => {
      const leases = new Leases({ ttlMs: 100, most: 5 });
      let list: { token: string; expiresAtMs: number }[] = [];
      let nowMs = 0;
      for (const { grant, token, laterMs } of commands) {
        nowMs += laterMs;
        // Tokens never repeat while they live.
        if (grant && !list.some((each) => each.token === token)) {
          list = [...list.filter(({ expiresAtMs }) => nowMs <= expiresAtMs), { token, expiresAtMs: nowMs + 100 }].slice(
            -5,
          );
          leases.grant(lease(token), nowMs);
        } else {
          const found = list.find((each) => each.token === token && nowMs <= each.expiresAtMs);
          expect(leases.take(token, nowMs)?.token).toBe(found?.token);
          list = list.filter((each) => each.token !== token);
        }
        expect(leases.size).toBeLessThanOrEqual(5);
      }
    }),
  );
});
