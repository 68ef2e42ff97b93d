import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from './crc32.ts';
import {
  decodeEntry,
  decodeStored,
  encodeEntry,
  type Entry,
  ENVELOPE,
  isTagged,
  type Packing,
  restamp,
} from './envelope.ts';
import { lsn, text } from './testing/arbitraries.ts';

const timeMs = fc.double({ noNaN: true, noDefaultInfinity: true });
const timesMs = fc
  .tuple(timeMs, timeMs, timeMs, timeMs)
  .map((some) => some.toSorted((a, b) => a - b) as [number, number, number, number]);
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const anything = fc.record({
  asOf: lsn,
  epoch: lsn,
  loadMs: u32,
  absent: fc.boolean(),
  contentType: text,
  etag: text,
  tags: fc.array(text, { maxLength: 4 }),
  body: fc.uint8Array({ maxLength: 60 }),
});
const entry: fc.Arbitrary<Entry> = fc
  .tuple(anything, timesMs)
  .map(([some, [storedAtMs, freshUntilMs, expiresAtMs, keepUntilMs]]) => ({
    ...some,
    storedAtMs,
    freshUntilMs,
    expiresAtMs,
    keepUntilMs,
  }));
const packing: fc.Arbitrary<Packing> = fc
  .record({ zstd: fc.boolean(), chunks: fc.integer({ min: 0, max: 0xffff }), bodyBytes: u32 })
  .filter(({ zstd, chunks }) => zstd || chunks > 0);
const plain: Entry = {
  asOf: 1,
  epoch: 1,
  storedAtMs: 0,
  freshUntilMs: 1,
  expiresAtMs: 1,
  keepUntilMs: 1,
  loadMs: 0,
  absent: false,
  contentType: '',
  etag: '',
  tags: [],
  body: new Uint8Array(),
};

/** Makes the checksum fit, as a writer with other ideas about the rest would. */
function withChecksum(bytes: Uint8Array): Uint8Array {
  const fixed = bytes.slice();
  new DataView(fixed.buffer).setUint32(36, crc32(fixed, 40, fixed.length, crc32(fixed, 0, 36)));
  return fixed;
}

describe('encodeEntry and decodeEntry', () => {
  it('are inverse, wherever in a buffer the envelope lies', () => {
    fc.assert(
      fc.property(entry, fc.nat(9), (value, offset) => {
        const bytes = encodeEntry(value);
        const buffer = new Uint8Array(bytes.length + 20).fill(0xaa);
        buffer.set(bytes, offset);
        const within = buffer.subarray(offset, offset + bytes.length);
        expect(decodeEntry(within)).toEqual(value);
        expect(isTagged(within)).toBe(value.tags.length > 0);
      }),
      { numRuns: 500 },
    );
  });

  it('say how the body is packed, and a reader of whole values takes none that is', () => {
    fc.assert(
      fc.property(entry, packing, (stored, how) => {
        const bytes = encodeEntry(stored, how);
        expect(decodeStored(bytes)).toEqual({ entry: stored, packing: how });
        expect(decodeEntry(bytes)).toBeUndefined();
      }),
    );
  });

  it('[I7] a tag keeps its byte-order mark: the script compares it byte by byte with the fences', () => {
    expect(decodeEntry(encodeEntry({ ...plain, tags: ['\ufeffa', 'a'] }))?.tags).toEqual(['\ufeffa', 'a']);
  });

  it('[I12] a restamped envelope is that of the same entry at the other position', () => {
    fc.assert(
      fc.property(entry, fc.option(packing, { nil: undefined }), lsn, (value, how, to) => {
        const bytes = Buffer.concat([encodeEntry(value, how)]);
        const { before, after } = restamp(bytes, to);
        expect(before.length).toBe(bytes.length - value.body.length);
        expect([...bytes.subarray(0, before.length)]).toEqual([...before]);
        bytes.set(after);
        expect(decodeStored(new Uint8Array(bytes))?.entry).toEqual({ ...value, asOf: to });
      }),
    );
  });

  it('the body is a view, not a copy', () => {
    const bytes = encodeEntry({ ...plain, body: Uint8Array.of(1, 2, 3) });
    expect(decodeEntry(bytes)?.body.buffer).toBe(bytes.buffer);
  });

  it.each<[string, Partial<Entry>]>([
    ['a text beyond 65,535 bytes', { contentType: '€'.repeat(21_846) }],
    ['a tag beyond 65,535 bytes', { tags: ['x'.repeat(65_536)] }],
    ['more than 65,535 tags', { tags: Array.from({ length: 65_536 }, () => '') }],
    ['a position that is no number', { asOf: Number.NaN }],
    ['an epoch beyond 2^53', { epoch: 2 ** 53 }],
    ['a time without an end', { expiresAtMs: Number.POSITIVE_INFINITY, keepUntilMs: Number.POSITIVE_INFINITY }],
    ['a time that is no number', { storedAtMs: Number.NaN }],
    ['a soft TTL beyond the hard one', { freshUntilMs: 2 }],
    ['a value that is kept for less than its hard TTL', { keepUntilMs: 0.5 }],
    ['a value that is over before it was stored', { storedAtMs: 1.5 }],
    ['a load that took no whole number of milliseconds', { loadMs: 1.5 }],
    ['a load of 50 days', { loadMs: 2 ** 32 }],
  ])('a writer refuses %s', (_, change) => {
    expect(() => encodeEntry({ ...plain, ...change })).toThrow(RangeError);
  });

  it('takes what just fits', () => {
    const value = { ...plain, etag: 'e'.repeat(65_535), tags: Array.from({ length: 65_535 }, () => 't') };
    expect(decodeEntry(encodeEntry(value))).toEqual(value);
  });
});

describe('damage is a miss', () => {
  it('[I6] any flipped bit', () => {
    fc.assert(
      fc.property(entry, (value) => {
        const bytes = encodeEntry(value);
        for (let bit = 0; bit < bytes.length * 8; bit++) {
          const damaged = bytes.slice();
          damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
          expect(decodeEntry(damaged)).toBeUndefined();
        }
      }),
      { numRuns: 15 },
    );
  });

  it('[I6] any cut, any byte too many', () => {
    fc.assert(
      fc.property(entry, fc.uint8Array({ minLength: 1, maxLength: 4 }), (value, more) => {
        const bytes = encodeEntry(value);
        for (let end = 0; end < bytes.length; end++) expect(decodeEntry(bytes.subarray(0, end))).toBeUndefined();
        expect(decodeEntry(Uint8Array.of(...bytes, ...more))).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  it('another magic number or version, even with a checksum that fits', () => {
    for (const at of [0, 1]) {
      const other = encodeEntry(plain);
      other[at] = (other[at] ?? 0) + 1;
      expect(decodeEntry(withChecksum(other))).toBeUndefined();
    }
    expect(decodeEntry(new Uint8Array())).toBeUndefined();
    expect(isTagged(new Uint8Array())).toBe(false);
  });

  it('[I6] lengths that lead out of the envelope, broken UTF-8, a flag that hides tags: never an exception, never an entry', () => {
    const bytes = encodeEntry({ ...plain, contentType: 'ab', tags: ['cd'] });
    const spoiled = (at: number, ...values: number[]): Uint8Array => {
      const copy = bytes.slice();
      copy.set(values, at);
      return withChecksum(copy);
    };
    expect(decodeEntry(spoiled(0))).toBeDefined();
    expect(decodeEntry(spoiled(40, 0xff, 0xff))).toBeUndefined();
    expect(decodeEntry(spoiled(42, 0x00, 0x20))).toBeUndefined();
    expect(decodeEntry(spoiled(44, 0x00, 0x02))).toBeUndefined();
    expect(decodeEntry(spoiled(72, 0xff))).toBeUndefined();
    expect(decodeEntry(spoiled(2, 0))).toBeUndefined();
  });

  it("[I6] times that contradict each other, a length that is not the body's, chunks without their flag: never an entry", () => {
    const bytes = encodeEntry({ ...plain, body: Uint8Array.of(1) });
    const spoiled = (change: (view: DataView) => void): Uint8Array => {
      const copy = bytes.slice();
      change(new DataView(copy.buffer));
      return withChecksum(copy);
    };
    expect(decodeEntry(spoiled(() => undefined))).toBeDefined();
    for (const at of [20, 28, 46, 54]) {
      for (const ms of [Number.NaN, at === 20 || at === 46 ? 2 : 0.5 - 2 ** 60])
        expect(
          decodeStored(spoiled((view) => view.setFloat64(at, at === 54 ? Math.min(ms, 0.5) : ms))),
        ).toBeUndefined();
    }
    expect(decodeStored(spoiled((view) => view.setUint32(66, 2)))).toBeUndefined();
    expect(decodeStored(spoiled((view) => view.setUint16(70, 1)))).toBeUndefined();
    expect(decodeStored(spoiled((view) => view.setUint8(2, ENVELOPE.flagChunked)))).toBeUndefined();
  });

  it('[I6] whatever bytes stand behind a checksum that fits: no exception, and never a position that compares as no number', () => {
    const header = fc.tuple(fc.uint8Array({ minLength: 70, maxLength: 70 }), fc.uint8Array({ maxLength: 40, max: 3 }));
    let sound = 0;
    fc.assert(
      fc.property(header, fc.boolean(), ([head, rest], small) => {
        const bytes = Uint8Array.of(ENVELOPE.magic, ENVELOPE.version, ...head, ...rest);
        if (small) {
          // Texts of a byte each; positions and times of zero; a body that is what is left.
          bytes.set([0, 1, 0, 1, 0, 1], 40);
          bytes.set([bytes[2] ?? 0, ...Array<number>(33).fill(0)], 2);
          bytes.fill(0, 46, 72);
          bytes[69] = Math.max(0, bytes.length - 77);
        }
        const decoded = decodeEntry(withChecksum(bytes));
        if (decoded === undefined) return;
        sound += 1;
        expect(Number.isSafeInteger(decoded.asOf) && Number.isSafeInteger(decoded.epoch)).toBe(true);
        expect(Number.isFinite(decoded.storedAtMs) && Number.isFinite(decoded.expiresAtMs)).toBe(true);
        expect(isTagged(bytes)).toBe(decoded.tags.length > 0);
      }),
      { numRuns: 2000 },
    );
    expect(sound).toBeGreaterThan(0);
  });
});
