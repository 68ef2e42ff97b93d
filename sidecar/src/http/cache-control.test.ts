import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { USUAL } from '../core/freshness.ts';
import { acceptsOf, lifetimeOf, parseCacheControl } from './cache-control.ts';
import { FieldError } from './fields.ts';

const none = parseCacheControl(undefined);

it.each([
  ['', {}],
  ['no-cache', { noCache: true }],
  ['No-Cache , X', { noCache: true }],
  ['no-store,only-if-cached', { noStore: true, onlyIfCached: true }],
  ['public, max-age=60', { maxAge: 60 }],
  ['MAX-AGE="60"', { maxAge: 60 }],
  ['max-age=99999999999', { maxAge: 2 ** 31 }],
  ['max-stale', { maxStale: Number.POSITIVE_INFINITY }],
  ['max-stale=10, min-fresh=5', { maxStale: 10, minFresh: 5 }],
  ['max-age=1, stale-while-revalidate=2, stale-if-error=3', { maxAge: 1, staleWhileRevalidate: 2, staleIfError: 3 }],
  // RFC 9111 section 4.2.1: of contradictions the strictest holds.
  ['max-age=0, max-age=60', { maxAge: 0 }],
  ['max-age=60,max-age=5', { maxAge: 5 }],
  ['min-fresh=1, min-fresh=9', { minFresh: 9 }],
  ['max-stale=3, max-stale', { maxStale: 3 }],
  ['max-stale, max-stale="3"', { maxStale: 3 }],
  ['stale-if-error=9, stale-if-error=0', { staleIfError: 0 }],
  // What stands in quotes is an argument, whatever it looks like.
  ['private="a, no-store, max-age=soon", x="\\"", no-cache', { noCache: true, isPrivate: true }],
  ['x="never ends, no-cache, max-age=soon', {}],
  ['max-age="6\\0"', { maxAge: 60 }],
  ['max-age = 5 ,, ,', { maxAge: 5 }],
  ['no-cachex, x-no-cache, private="no-store", constructor, __proto__=1', { isPrivate: true }],
])('%s', (field, found) => {
  expect(parseCacheControl(field)).toEqual({ ...none, ...found });
});

it.each([
  ...['max-age', 'max-age=', 'max-age=-1', 'max-age=1.5', 'max-age=soon', 'max-stale=soon', 'min-fresh'],
  ...['stale-if-error', 'stale-while-revalidate=x', 'max-age="60', 'max-age=60"', 'max-age=1=2', 'max-age=1 2'],
])('%s is an error that names the directive', (field) => {
  expect(() => parseCacheControl(field)).toThrow(`expected ${field.split('=')[0]}=SECONDS`);
});

it('never fails in another way', () => {
  const fieldText = fc.string({
    unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCodePoint(code)),
    maxLength: 80,
  });
  fc.assert(
    fc.property(fieldText, (field) => {
      try {
        parseCacheControl(field);
      } catch (error) {
        expect(error).toBeInstanceOf(FieldError);
      }
    }),
  );
});

describe('what a request accepts', () => {
  it('is the usual where it says nothing', () => {
    expect(acceptsOf(none, false)).toBe(USUAL);
    expect(acceptsOf(parseCacheControl('only-if-cached, x'), false)).toBe(USUAL);
  });

  it('is what it says', () => {
    expect(acceptsOf(parseCacheControl('max-age=1, min-fresh=2, max-stale=3, stale-if-error=4'), false)).toEqual({
      ...{ maxAgeMs: 1000, minFreshMs: 2000, maxStaleMs: 3000, staleIfErrorMs: 4000 },
      grace: true,
    });
  });

  it('is no old value instead of one that no-cache asks for, unless it says so', () => {
    expect(acceptsOf(parseCacheControl('no-cache'), false).staleIfErrorMs).toBe(Number.NEGATIVE_INFINITY);
    expect(acceptsOf(parseCacheControl('no-cache, stale-if-error=4'), false).staleIfErrorMs).toBe(4000);
  });

  it('is nothing in grace where the answer must be coherent', () => {
    expect(acceptsOf(none, true)).toEqual({ ...USUAL, grace: false });
  });
});

it('a lifetime is what a value says of itself', () => {
  expect(lifetimeOf(parseCacheControl('max-age=1, stale-while-revalidate=2, stale-if-error=3'))).toEqual({
    ...{ maxAgeMs: 1000, staleWhileRevalidateMs: 2000, staleIfErrorMs: 3000 },
  });
  expect(Object.values(lifetimeOf(none))).toEqual([undefined, undefined, undefined]);
});
