import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareConfigStamps,
  decodeConfigRecord,
  encodeConfigRecord,
  MAX_CONFIG_RECORD_BYTES,
  nextConfigTerm,
} from './config-record.ts';
import { examples, full, minimal } from './testing/documents.ts';

const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const stamp = fc.record({ term: count, revision: count });
const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

describe('a record of the configuration topic', () => {
  it.each(examples)('gives back %s exactly as it was written', (_title, document) => {
    const decoded = decodeConfigRecord(encodeConfigRecord({ term: 3, revision: 7, document }));
    expect(decoded).toMatchObject({ ok: true, record: { term: 3, revision: 7, document, source: 'main' } });
  });

  it('[I16] is understood or refused, whatever bytes it has, and never throws', () => {
    const whole = encodeConfigRecord({ term: 1, revision: 1, document: full });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => new TextEncoder().encode(text)),
          fc.nat({ max: whole.length - 1 }).map((end) => whole.slice(0, end)),
        ),
        (bytes) => {
          expect(decodeConfigRecord(bytes).ok).toBe(false);
        },
      ),
    );
  });

  it.each([
    ['no JSON', new TextEncoder().encode('{'), 'expected JSON'],
    ['no UTF-8', Uint8Array.of(0x22, 0xff, 0x22), 'expected JSON'],
    ['a list', bytesOf([]), 'expected an object'],
    [
      'another version',
      bytesOf({ version: 2, term: 0, revision: 0, document: minimal }),
      'version: found 2, expected 1',
    ],
    ['no term', bytesOf({ version: 1, revision: 0, document: minimal }), 'term: expected a whole number from 0'],
    ['a negative term', bytesOf({ version: 1, term: -1, revision: 0, document: minimal }), 'term'],
    ['half a revision', bytesOf({ version: 1, term: 0, revision: 0.5, document: minimal }), 'revision'],
    ['no document', bytesOf({ version: 1, term: 0, revision: 0 }), 'document: found nothing, expected object'],
    [
      'a document with many mistakes',
      bytesOf({
        version: 1,
        term: 0,
        revision: 0,
        document: {
          ...minimal,
          ...Object.fromEntries(Array.from({ length: 9 }, (_, i) => [i, i])),
          namespaces: Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`n${i}`, 0])),
        },
      }),
      '; and 5 more',
    ],
    [
      'two sources',
      bytesOf({ version: 1, term: 0, revision: 0, document: { sources: { a: { topic: 'a' }, b: { topic: 'b' } } } }),
      'document.sources: found a, b, expected one source',
    ],
    ['too many bytes', new Uint8Array(MAX_CONFIG_RECORD_BYTES + 1), 'bytes, expected at most'],
  ])('with %s is refused with the reason', (_title, bytes, why) => {
    expect(decodeConfigRecord(bytes)).toMatchObject({ ok: false, why: expect.stringContaining(why) });
  });

  it('is not written from a document that nobody could read', () => {
    expect(() => encodeConfigRecord({ term: 0, revision: 0, document: { sources: {} } })).toThrow(
      'no configuration record: document.sources: found none, expected at least one source',
    );
  });
});

describe('stamps', () => {
  it('are ordered by term, then by revision', () => {
    fc.assert(
      fc.property(stamp, stamp, (a, b) => {
        const expected = a.term < b.term || (a.term === b.term && a.revision < b.revision);
        expect(compareConfigStamps(a, b) < 0).toBe(expected);
        expect(Math.sign(compareConfigStamps(a, b))).toBe(-Math.sign(compareConfigStamps(b, a)) || 0);
      }),
    );
  });

  it('of a publisher that begins to lead are newer than all before', () => {
    expect(nextConfigTerm(undefined, 0)).toBe(0);
    expect(nextConfigTerm({ term: 4, revision: 9 }, 2)).toBe(5);
    expect(nextConfigTerm({ term: 4, revision: 9 }, 12)).toBe(12);
  });
});
