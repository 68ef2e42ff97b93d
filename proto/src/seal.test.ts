import fc from 'fast-check';
import { expect, it } from 'vitest';
import { checkSeal, seal } from './seal.ts';

const body = fc.uint8Array({ maxLength: 100 });

it('a sealed record is its body and a checksum, and holds wherever in a buffer it lies', () => {
  fc.assert(
    fc.property(body, fc.nat(9), (bytes, offset) => {
      const record = seal(bytes);
      expect(record.subarray(0, bytes.length)).toEqual(bytes);
      const buffer = new Uint8Array(record.length + 20);
      buffer.set(record, offset);
      checkSeal(buffer.subarray(offset, offset + record.length));
    }),
  );
});

it('[I1] a record with one bit flipped, or cut anywhere, is refused', () => {
  fc.assert(
    fc.property(body, (bytes) => {
      const record = seal(bytes);
      for (let bit = 0; bit < record.length * 8; bit++) {
        const damaged = record.slice();
        damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(() => checkSeal(damaged)).toThrow(/no batch: /);
      }
      for (let end = 0; end < record.length; end++)
        expect(() => checkSeal(record.subarray(0, end))).toThrow(/no batch: /);
    }),
    { numRuns: 20 },
  );
});
