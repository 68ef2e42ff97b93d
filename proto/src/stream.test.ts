import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classify, type Position, type Span } from './stream.ts';

describe('classify', () => {
  it.each([
    ['continues the chain', { epoch: 1, from: 10, to: 20 }, 'next'],
    ['overlaps what was applied', { epoch: 1, from: 5, to: 20 }, 'next'],
    ['was applied', { epoch: 1, from: 5, to: 10 }, 'duplicate'],
    ['is an idle heartbeat', { epoch: 1, from: 10, to: 10 }, 'duplicate'],
    ['leaves a hole', { epoch: 1, from: 11, to: 20 }, 'gap'],
    ['is an idle heartbeat beyond a hole', { epoch: 1, from: 11, to: 11 }, 'gap'],
    ['begins a new epoch, wherever it lies', { epoch: 2, from: 1, to: 2 }, 'new-epoch'],
    ['is of a replaced publisher, wherever it lies', { epoch: 0, from: 10, to: 20 }, 'stale-epoch'],
  ] as const)('a record that %s', (_, span, expected) => {
    expect(classify({ epoch: 1, applied: 10 }, span)).toBe(expected);
  });

  it('[I1] [I10] whatever is lost, repeated, reordered or written by a replaced publisher, everything up to W was applied or flushed', () => {
    const end = 12;
    const span = fc
      .record({ epoch: fc.nat(2), from: fc.nat(end), length: fc.nat(4) })
      .map(({ epoch, from, length }): Span => ({ epoch, from, to: Math.min(end, from + length) }));
    fc.assert(
      fc.property(fc.array(span, { maxLength: 40 }), (records) => {
        let at: Position = { epoch: 0, applied: 0 };
        let accounted = new Set<number>();
        for (const record of records) {
          const step = classify(at, record);
          if (step === 'duplicate' || step === 'stale-epoch') continue;
          // A flush accounts for everything up to `to`; a record that is applied only for what it holds itself.
          const first = step === 'next' ? record.from + 1 : 1;
          if (step === 'new-epoch') accounted = new Set();
          for (let position = first; position <= record.to; position++) accounted.add(position);
          expect(record.epoch).toBeGreaterThanOrEqual(at.epoch);
          if (record.epoch === at.epoch) expect(record.to).toBeGreaterThan(at.applied);
          at = { epoch: record.epoch, applied: record.to };
          for (let position = 1; position <= at.applied; position++) expect(accounted.has(position)).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
