import { describe, expect, it } from 'vitest';
import { parseBound } from './bound.ts';

const NOW = Date.UTC(2026, 0, 31, 12);

describe('a place in the stream', () => {
  it.each([
    ['earliest', { kind: 'earliest' }],
    ['latest', { kind: 'latest' }],
    ['16/B374D848', { kind: 'position', epoch: undefined, lsn: 0x16_b374_d848 }],
    ['3:0/10', { kind: 'position', epoch: 3, lsn: 16 }],
    ['2h', { kind: 'time', timeMs: NOW - 7_200_000 }],
    ['1.5d', { kind: 'time', timeMs: NOW - 129_600_000 }],
    ['2026-01-31T12:00:00Z', { kind: 'time', timeMs: NOW }],
    ['2026-01-31T13:00+01:00', { kind: 'time', timeMs: NOW }],
    ['2026-01-31', { kind: 'time', timeMs: NOW - 43_200_000 }],
  ])('reads %s', (text, bound) => expect(parseBound(text, NOW)).toEqual(bound));

  it.each([
    '',
    'now',
    '16',
    '16/',
    ':0/1',
    '-1:0/1',
    '2 h',
    '2026-01-31T12:00:00',
    '2026-13-01',
    '99999999999999999:0/1',
  ])('says what it found and what it expected for %j', (text) =>
    expect(() => parseBound(text, NOW)).toThrow(`found ${JSON.stringify(text)}, expected earliest`),
  );
});
