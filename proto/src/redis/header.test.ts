import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseHeader, parsePair } from './header.ts';

const header = '1 g-1 2 3 100 90 200 150 42 digest -';

describe('parseHeader', () => {
  it('reads what the scripts write', () => {
    expect(parseHeader(header)).toEqual({
      generation: 'g-1',
      adoption: '2',
      epoch: 3,
      from: 100,
      tagFrom: 90,
      to: 200,
      visible: 150,
      offset: '42',
      digest: 'digest',
      parts: '-',
    });
    expect(parseHeader(`1 g 1 1 0 0 ${Number.MAX_SAFE_INTEGER} 0 0 d -`)?.to).toBe(Number.MAX_SAFE_INTEGER);
  });

  it.each(['', ' ', '2 g 1 1 1 1 1 1 1 d -', `${header} `, `${header} more`, ` ${header}`, header.replace('g-1', '')])(
    '[I7] takes %j for no log',
    (text) => expect(parseHeader(text)).toBeUndefined(),
  );

  it('[I7] takes any part that is not what it must be for no log: a position that is no number would hide every fence', () => {
    const parts = header.split(' ');
    const broken = fc.constantFrom(
      '',
      'NaN',
      'nan',
      'inf',
      '-1',
      '+1',
      '1.5',
      '1e3',
      '0x1',
      ' 1',
      'x',
      '9007199254740992',
    );
    const place = fc.constantFrom(3, 4, 5, 6, 7, 8);
    fc.assert(
      fc.property(place, broken, (at, value) => {
        fc.pre(value !== '9007199254740992' || at < 8);
        expect(parseHeader(parts.with(at, value).join(' '))).toBeUndefined();
      }),
    );
  });

  it.each([1, 2, 9, 10])('[I7] takes a header whose part %i is empty for no log', (at) => {
    expect(parseHeader(header.split(' ').with(at, '').join(' '))).toBeUndefined();
  });

  it('never throws, and what it answers compares as numbers', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('1', '0', 'g', 'NaN', ''), { maxLength: 13 }), (parts) => {
        const parsed = parseHeader(parts.join(' '));
        if (parsed === undefined) return;
        const { epoch, from, tagFrom, to, visible } = parsed;
        expect([epoch, from, tagFrom, to, visible].every(Number.isSafeInteger)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('parsePair', () => {
  it('reads what the scripts write', () => {
    expect(parsePair('2 100 150')).toEqual({ adoption: '2', from: 100, fence: 150 });
  });

  it.each([
    '',
    '1',
    '1 2',
    '1 2 3 4',
    '1 2 ',
    ' 1 2',
    '1  2 3',
    '1 NaN 3',
    '1 2 nan',
    '1 2 -3',
    '1 2 9007199254740992',
  ])('[I7] takes %j for a namespace that is not applied', (text) => expect(parsePair(text)).toBeUndefined());
});
