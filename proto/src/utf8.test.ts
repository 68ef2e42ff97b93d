import fc from 'fast-check';
import { expect, it } from 'vitest';
import { text } from './testing/arbitraries.ts';
import { utf8Length } from './utf8.ts';

it('counts what an encoder writes, for every text', () => {
  const encoder = new TextEncoder();
  const units = fc.array(fc.oneof(fc.nat(0xffff), fc.integer({ min: 0xd800, max: 0xdfff })));
  const anyText = fc.oneof(
    text,
    units.map((codes) => String.fromCharCode(...codes)),
  );
  fc.assert(
    fc.property(anyText, (value) => {
      expect(utf8Length(value)).toBe(encoder.encode(value).length);
    }),
    { numRuns: 1000 },
  );
});

it.each([
  ['a', 1],
  ['é', 2],
  ['€', 3],
  ['😀', 4],
  ['\udc00\udc00', 6],
  ['\ud800', 3],
  ['\ud800\ud800\udc00', 7],
])('%j has %i bytes, lone surrogates being three each', (value, bytes) => {
  expect(utf8Length(value)).toBe(bytes);
});
