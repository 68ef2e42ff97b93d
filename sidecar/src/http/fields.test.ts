import { formatLsn } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FieldError, parseBoolean, parseContentType, parsePosition, parseTags } from './fields.ts';

/** What may stand in a header, as Node gives it: one character a byte. */
const fieldText = fc.string({
  unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCodePoint(code)),
  maxLength: 80,
});
const asHeader = (text: string): string => Buffer.from(text).toString('latin1');

describe('Surrogate-Key', () => {
  const tag = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
    .filter((text) => text.isWellFormed() && Buffer.byteLength(text) <= 512);

  it('gives the tags that were encoded into it, each once', () => {
    fc.assert(
      fc.property(fc.array(tag, { maxLength: 20 }), fc.constantFrom(' ', '  ', '\t'), (tags, gap) => {
        expect(parseTags(tags.map(encodeURIComponent).join(gap))).toEqual([...new Set(tags)]);
      }),
    );
  });

  it('takes raw UTF-8 as well as encoded, a byte-order mark included', () => {
    for (const text of ['Köln', '\uFEFFx', '日本']) expect(parseTags(asHeader(text))).toEqual([text]);
  });

  it('either gives tags of at most 512 bytes that are well formed, or says what is wrong', () => {
    fc.assert(
      fc.property(fieldText, (field) => {
        try {
          for (const each of parseTags(field)) expect([each.isWellFormed(), each === '']).toEqual([true, false]);
        } catch (error) {
          expect(error).toBeInstanceOf(FieldError);
        }
      }),
    );
  });
});

it('a position is one as Postgres prints it', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (lsn) => {
      expect(parsePosition('X', ` ${formatLsn(lsn)} `)).toBe(lsn);
    }),
  );
  for (const field of ['', '0', '0/', 'x/1', '0/1 0/2']) expect(() => parsePosition('X', field)).toThrow(FieldError);
  expect(parsePosition('X', undefined)).toBeUndefined();
});

it('booleans are those of RFC 9651', () => {
  expect([undefined, '?0', '?1', ' ?1 '].map((field) => parseBoolean('X', field))).toEqual([false, false, true, true]);
  for (const field of ['', '1', 'true', '?2']) expect(() => parseBoolean('X', field)).toThrow('X: expected ?1 or ?0');
});

it('a media type is kept as it is, up to a length', () => {
  expect([undefined, '', 'text/plain; charset=utf-8'].map((field) => parseContentType(field))).toEqual([
    'application/octet-stream',
    'application/octet-stream',
    'text/plain; charset=utf-8',
  ]);
  expect(() => parseContentType('x'.repeat(256))).toThrow('at most 255');
});
