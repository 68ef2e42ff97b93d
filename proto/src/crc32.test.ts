import { crc32 as zlibCrc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from './crc32.ts';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('crc32', () => {
  it.each([
    ['', 0],
    ['a', 0xe8b7be43],
    ['123456789', 0xcbf43926],
    ['The quick brown fox jumps over the lazy dog', 0x414fa339],
  ])('of %j is the known one', (text, expected) => expect(crc32(bytesOf(text))).toBe(expected));

  it('agrees with zlib on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(crc32(bytes)).toBe(zlibCrc32(bytes));
      }),
    );
  });

  it('goes on from an earlier one, over any part', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), fc.nat(), (bytes, a, b) => {
        const [start, end] = [a % (bytes.length + 1), b % (bytes.length + 1)].toSorted((x, y) => x - y) as [
          number,
          number,
        ];
        expect(crc32(bytes, start, end)).toBe(zlibCrc32(bytes.subarray(start, end)));
        expect(crc32(bytes, end, bytes.length, crc32(bytes, 0, end))).toBe(zlibCrc32(bytes));
      }),
    );
  });
});
