import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeChunkList, encodeChunkList, joinChunks, splitBody } from './chunks.ts';

const token = 'AZaz09_-AZaz09_-';
const body = fc.uint8Array({ minLength: 1, maxLength: 100 });

describe('chunks', () => {
  it('are put together again, in whatever size they were cut', () => {
    fc.assert(
      fc.property(body, fc.integer({ min: 1, max: 120 }), (whole, size) => {
        const chunks = splitBody(whole, size);
        expect(chunks.every(({ length }, i) => length === size || i === chunks.length - 1)).toBe(true);
        const list = decodeChunkList(encodeChunkList(token, chunks), chunks.length)!;
        expect(list.token).toBe(token);
        expect(joinChunks(list, chunks, whole.length)).toEqual(whole);
        expect(joinChunks(list, chunks, whole.length - 1)).toBeUndefined();
      }),
    );
  });

  it('[I6] that are missing, damaged or in another order are no body', () => {
    fc.assert(
      fc.property(body, fc.integer({ min: 1, max: 40 }), fc.nat(), (whole, size, at) => {
        const chunks = splitBody(whole, size);
        const list = decodeChunkList(encodeChunkList(token, chunks), chunks.length)!;
        const i = at % chunks.length;
        const other = chunks[i]!.slice();
        other[at % other.length] = (other[at % other.length] ?? 0) ^ (1 << (at % 8));
        for (const wrong of [null, other, new Uint8Array(0), chunks[i]!.subarray(1)])
          expect(joinChunks(list, chunks.with(i, wrong as Uint8Array), 1000)).toBeUndefined();
        expect(joinChunks(list, chunks.slice(0, -1), 1000)).toBeUndefined();
      }),
    );
  });

  it.each([
    ['another number of chunks', encodeChunkList(token, [new Uint8Array(1)]), 2],
    ['nothing', new Uint8Array(0), 0],
    ['a token that could lead to another key', new TextEncoder().encode('}:E:1:2:3456789a'), 0],
  ])('[I6] a list that is %s is none', (_, bytes, count) => {
    expect(decodeChunkList(bytes, count)).toBeUndefined();
  });

  it('a writer refuses a token of another form', () => {
    expect(() => encodeChunkList('short', [])).toThrow(RangeError);
  });
});
