import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatLsn, lsnFromBigInt, MAX_LSN, parseLsn } from './lsn.ts';

const lsn = fc.maxSafeNat();

describe('parseLsn and formatLsn', () => {
  it('read and write as Postgres prints', () => {
    expect(parseLsn('16/B374D848')).toBe(0x16_b374d848);
    expect(formatLsn(0x16_b374d848)).toBe('16/B374D848');
    expect(formatLsn(0)).toBe('0/0');
    expect(parseLsn('1FFFFF/FFFFFFFF')).toBe(MAX_LSN);
    expect(formatLsn(MAX_LSN)).toBe('1FFFFF/FFFFFFFF');
  });

  it('read padded and lower-case text too, which libraries and Postgres 18 print', () => {
    expect(parseLsn('00000016/0000D848')).toBe(parseLsn('16/D848'));
    expect(parseLsn('16/b374d848')).toBe(parseLsn('16/B374D848'));
  });

  it('are inverse over everything that is exact', () => {
    fc.assert(
      fc.property(lsn, (position) => {
        expect(parseLsn(formatLsn(position))).toBe(position);
      }),
    );
  });

  it.each([
    '',
    '/',
    '0',
    '0/',
    '/0',
    '0/0/0',
    ' 0/0',
    '0/0 ',
    '0/123456789',
    '123456789/0',
    'g/0',
    '0x1/0',
    '-1/0',
    '0/1\n',
  ])('refuse %j', (text) => expect(() => parseLsn(text)).toThrow(/not an LSN: .* \(expected hex\/hex/));

  it('refuse what a double cannot count exactly', () => {
    expect(() => parseLsn('200000/0')).toThrow(/beyond 8 PiB/);
    expect(() => parseLsn('FFFFFFFF/FFFFFFFF')).toThrow(/beyond 8 PiB/);
  });
});

describe('lsnFromBigInt', () => {
  it('narrows exactly', () => {
    fc.assert(
      fc.property(lsn, (position) => {
        expect(lsnFromBigInt(BigInt(position))).toBe(position);
      }),
    );
  });

  it('refuses every larger 64-bit integer', () => {
    const larger = fc.bigInt({ min: BigInt(MAX_LSN) + 1n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(larger, (position) => {
        expect(() => lsnFromBigInt(position)).toThrow(RangeError);
      }),
    );
    expect(() => lsnFromBigInt(2n ** 53n + 1n)).toThrow(RangeError);
  });
});
