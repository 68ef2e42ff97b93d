import fc from 'fast-check';
import { expect, it } from 'vitest';
import { widenXid } from './xid.ts';

const MAX_DISTANCE = 2n ** 31n - 1n;

it('finds every id again that lies less than 2^31 from a recent one', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 3n, max: 2n ** 50n }),
      fc.bigInt({ min: -MAX_DISTANCE, max: MAX_DISTANCE }),
      (recent, distance) => {
        const xid = recent + distance;
        fc.pre(xid >= 3n);
        expect(widenXid(Number(xid % 2n ** 32n), recent)).toBe(xid);
      },
    ),
  );
});

it('takes ids that were parsed as signed', () => {
  expect(widenXid(-1, 2n ** 32n + 5n)).toBe(2n ** 32n - 1n);
});
