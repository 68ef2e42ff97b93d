import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDurationMs, parsePercent, parseSizeBytes } from './units.ts';

const nothing = [
  '',
  ' ',
  '1',
  's',
  '1 s',
  '-1s',
  '+1s',
  '.5s',
  '1.s',
  '1e3s',
  '1S',
  '1s ',
  '1s1s',
  'Infinitys',
  '0x1s',
];

describe('parseDurationMs', () => {
  it.each([
    ['0ms', 0],
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1.5h', 5_400_000],
    ['1d', 86_400_000],
    ['365d', 365 * 86_400_000],
    ['0.4ms', 0],
  ])('%s', (text, ms) => expect(parseDurationMs(text)).toBe(ms));

  it.each([...nothing, '1y', '1us', '366d', `${'9'.repeat(400)}s`])('refuses %j', (text) => {
    expect(parseDurationMs(text)).toBeUndefined();
  });
});

describe('parseSizeBytes', () => {
  it.each([
    ['0B', 0],
    ['512B', 512],
    ['4KiB', 4096],
    ['1.5MiB', 1.5 * 1024 ** 2],
    ['1GiB', 1024 ** 3],
  ])('%s', (text, bytes) => expect(parseSizeBytes(text)).toBe(bytes));

  it.each([...nothing, '1KB', '1kib', '1TiB', '9007199254740992B', `${'9'.repeat(400)}GiB`])('refuses %j', (text) => {
    expect(parseSizeBytes(text)).toBeUndefined();
  });
});

describe('parsePercent', () => {
  it.each([
    ['0%', 0],
    ['12.5%', 0.125],
    ['100%', 1],
  ])('%s', (text, fraction) => expect(parsePercent(text)).toBe(fraction));

  it.each(['', '%', '10', '-1%', '100.1%', '10 %', '10%%', `${'9'.repeat(400)}%`])('refuses %j', (text) => {
    expect(parsePercent(text)).toBeUndefined();
  });
});

it('no text makes a quantity that is negative, infinite or no number', () => {
  const text = fc.oneof(
    fc.string(),
    fc
      .tuple(fc.double({ min: 0 }), fc.constantFrom('ms', 's', 'm', 'h', 'd', 'B', 'KiB', 'MiB', 'GiB', '%'))
      .map(([n, u]) => `${n}${u}`),
  );
  fc.assert(
    fc.property(text, (value) => {
      for (const parsed of [parseDurationMs(value), parseSizeBytes(value), parsePercent(value)]) {
        if (parsed !== undefined) expect(parsed >= 0 && Number.isFinite(parsed)).toBe(true);
      }
    }),
    { numRuns: 1000 },
  );
});
