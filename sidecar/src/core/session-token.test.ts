import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ANYTHING, both, formatSession, NOTHING_SEEN, parseSession, type Seen } from './session-token.ts';

const pending = fc.option(fc.constantFrom('lease-1', 'lease_2', ANYTHING), { nil: undefined });
const seen: fc.Arbitrary<Seen> = fc.record({
  epoch: fc.constantFrom(1, 2, 1_763_700_000_000),
  lsn: fc.oneof(fc.nat(20), fc.constant(Number.MAX_SAFE_INTEGER)),
  pending,
});
const token = fc
  .uniqueArray(fc.tuple(fc.constantFrom('main', 'a.b-c_d', '0'), seen), { selector: ([source]) => source })
  .map((parts) => new Map(parts));

describe('a token', () => {
  it('is read as it was written, in characters that need no escape in a URL', () => {
    fc.assert(
      fc.property(token, (one) => {
        const text = formatSession(one);
        expect(parseSession(text)).toEqual(one);
        expect(encodeURIComponent(text)).toBe(text);
      }),
    );
  });

  it.each(['', 'new', ' new , ', ','])('begins a session: "%s"', (text) => {
    expect(parseSession(text)).toEqual(new Map());
    expect(formatSession(parseSession(text))).toBe('new');
  });

  it.each([
    '2~main~1~1',
    '1~',
    '1~main',
    '1~main~1',
    '1~main~0~1',
    '1~main~x~1',
    '1~main~1~xyz',
    '1~MAIN~1~1',
    '1~main~1~40000000000000',
    '1~main~9999999999999999~1',
    '1~main~1~1~',
    '1~main~1~1~a b',
    `1~main~1~1~${'x'.repeat(65)}`,
    `1~${'x'.repeat(64)}~1~1`,
    '0/1',
    Array.from({ length: 9 }, () => 'new').join(','),
    `1~${Array.from({ length: 17 }, (_, i) => `s${i}~1~1`).join('~~')}`,
    'x'.repeat(3000),
  ])('is refused: %s', (text) => expect(() => parseSession(text)).toThrow(RangeError));

  it('is never read as something that compares as no number, whatever is sent', () => {
    const piece = fc.constantFrom('1', '~', '~~', 'main', 'NaN', '-', '*', ',', '0', 'F', ' ');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          for (const { epoch, lsn } of parseSession(`1~${pieces.join('')}`).values())
            expect([epoch, lsn].every(Number.isSafeInteger)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});

describe('[I14] several tokens', () => {
  it('stand for what any of them has seen, in any order', () => {
    fc.assert(
      fc.property(seen, seen, seen, (a, b, c) => {
        expect(both(a, b)).toEqual(both(b, a));
        expect(both(both(a, b), c)).toEqual(both(a, both(b, c)));
        expect(both(a, a)).toEqual(a);
        expect(both(a, NOTHING_SEEN)).toEqual(a);
        const { epoch, lsn, pending: open } = both(a, b);
        for (const one of [a, b]) {
          // Positions of an older epoch are not compared: that they are missing is noted.
          if (one.epoch === epoch) expect(lsn).toBeGreaterThanOrEqual(one.lsn);
          else expect([one.epoch < epoch, open]).toEqual([true, ANYTHING]);
          if (one.pending !== undefined) expect([one.pending, ANYTHING]).toContain(open);
        }
      }),
    );
  });

  it('are joined by commas', () => {
    expect(formatSession(parseSession('1~main~7~A0~lease-1, 1~main~7~FF~~other~1~1'))).toBe(
      '1~main~7~FF~lease-1~~other~1~1',
    );
  });
});
