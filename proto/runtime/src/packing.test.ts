import { randomBytes } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import { decodeStored, encodeChunkList, encodeEntry, type Entry, type Packing, type Stored } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Packer, type PackedEntry, type PackingSettings } from './packing.ts';

const settings: PackingSettings = { compressOverBytes: 100, chunkBytes: 1000, maxItemBytes: 2 ** 22 };
const entryOf = (body: Uint8Array): Entry => ({
  ...{ asOf: 1, epoch: 1, storedAtMs: 0, freshUntilMs: 1, expiresAtMs: 1, keepUntilMs: 1, loadMs: 0 },
  ...{ absent: false, contentType: '', etag: '', tags: ['t'], body },
});
const newPacker = (): Packer => new Packer(() => randomBytes(12).toString('base64url'));
const storedIn = ({ envelope }: PackedEntry): Stored => decodeStored(envelope)!;

/** Answers the chunks of what was packed, and nothing for another token. */
const chunksOf =
  ({ token, chunks }: PackedEntry) =>
  (asked: string, count: number): Promise<readonly (Uint8Array | null)[]> =>
    Promise.resolve(asked === token && count === chunks.length ? chunks : Array<null>(count).fill(null));
const none = (): Promise<never> => Promise.reject(new Error('no chunk should be asked for'));

/** Of runs, so that some is compressed and some is not. */
const body = fc
  .array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 60 })), { maxLength: 20 })
  .map((runs) => Buffer.concat(runs.flatMap(([run, times]) => Array<Uint8Array>(times).fill(run))));

describe('Packer', () => {
  it('gives back what was packed, with memory of its own, whatever the settings are', async () => {
    const limits = fc.record({
      compressOverBytes: fc.constantFrom(0, 50, 2000, Infinity),
      chunkBytes: fc.constantFrom(1, 7, 1000, Infinity),
      maxItemBytes: fc.constant(2 ** 22),
    });
    await fc.assert(
      fc.asyncProperty(body, limits, async (value, of) => {
        const packer = newPacker();
        const packed = await packer.pack(entryOf(value), of);
        expect(packed.chunks.every(({ length }) => length > 0 && length <= of.chunkBytes)).toBe(true);
        const found = await packer.unpack(storedIn(packed), of, chunksOf(packed));
        expect(found).toEqual({ ...entryOf(value), body: expect.anything() as Uint8Array });
        expect(Buffer.compare(found!.body, value)).toBe(0);
        expect(found!.body.buffer.byteLength).toBe(value.length);
        expect(packer.counters.storedBytes).toBeLessThanOrEqual(packer.counters.valueBytes);
      }),
    );
  });

  it.each([
    ['small', Buffer.alloc(100), 'plain'],
    ['that becomes small', Buffer.alloc(500), 'zstd'],
    ['that does not become much smaller', Buffer.concat([randomBytes(900), Buffer.alloc(90)]), 'plain'],
    ['that other threads compress', Buffer.alloc(2_000_000, 'abc'), 'zstd'],
    ['large that does not become smaller', randomBytes(200_000), 'chunks'],
    ['large that becomes smaller, not small', Buffer.from(randomBytes(200_000).toString('hex')), 'both'],
  ])('packs a value %s as %#', async (_, value, how) => {
    const packer = newPacker();
    const packed = await packer.pack(entryOf(value), settings);
    const { packing } = storedIn(packed);
    expect(packing.zstd).toBe(how === 'zstd' || how === 'both');
    expect(packing.chunks > 0).toBe(how === 'chunks' || how === 'both');
    expect(packing.chunks).toBe(packed.chunks.length);
    expect(packing.bodyBytes).toBe(value.length);
    const found = await packer.unpack(storedIn(packed), settings, chunksOf(packed));
    expect(Buffer.compare(found!.body, value)).toBe(0);
  });

  it('stores values as they are where many large ones come at once, rather than let them wait', async () => {
    const packer = newPacker();
    const values = Array.from({ length: 40 }, (_, i) => Buffer.alloc(200_000 + i, 'abc'));
    const packed = await Promise.all(values.map((value) => packer.pack(entryOf(value), settings)));
    expect(packer.counters.compressions.busy).toBeGreaterThan(0);
    expect(packer.counters.compressions.smaller).toBeGreaterThan(0);
    const found = await Promise.all(packed.map((one) => packer.unpack(storedIn(one), settings, chunksOf(one))));
    found.forEach((entry, i) => expect(Buffer.compare(entry!.body, values[i]!)).toBe(0));
  });

  it('unpacks many large ones at once', async () => {
    const packer = newPacker();
    const value = Buffer.alloc(300_000, 'abc');
    const packed = await packer.pack(entryOf(value), settings);
    const found = await Promise.all(
      Array.from({ length: 60 }, () => packer.unpack(storedIn(packed), settings, chunksOf(packed))),
    );
    expect(found.every((entry) => entry?.body.length === 300_000)).toBe(true);
  });

  it('names the chunks of each fill anew', async () => {
    const packer = newPacker();
    const value = entryOf(randomBytes(3000));
    const [one, two] = [await packer.pack(value, settings), await packer.pack(value, settings)];
    expect(one.token).not.toBe(two.token);
    expect(await packer.unpack(storedIn(one), settings, chunksOf(two))).toBeUndefined();
  });
});

describe('[I6] what is no value', () => {
  const zeros = zstdCompressSync(Buffer.alloc(100_000_000));
  const packedAs = (bytes: Uint8Array, packing: Packing): Stored => decodeStored(encodeEntry(entryOf(bytes), packing))!;

  it.each<[string, Stored]>([
    ['a frame of more than it says', packedAs(zeros, { zstd: true, chunks: 0, bodyBytes: 1000 })],
    ['a large one of more than it says', packedAs(zeros, { zstd: true, chunks: 0, bodyBytes: 1_000_000 })],
    [
      'a frame that says more than a value may have',
      packedAs(zeros, { zstd: true, chunks: 0, bodyBytes: 100_000_000 }),
    ],
    [
      'a frame of less than it says',
      packedAs(zstdCompressSync(Buffer.alloc(10)), { zstd: true, chunks: 0, bodyBytes: 11 }),
    ],
    ['a frame that is cut off', packedAs(zeros.subarray(0, 100), { zstd: true, chunks: 0, bodyBytes: 100_000 })],
    ['no frame', packedAs(Buffer.from('text'), { zstd: true, chunks: 0, bodyBytes: 4 })],
    ['no bytes at all', packedAs(Buffer.alloc(0), { zstd: true, chunks: 0, bodyBytes: 4 })],
    ['a list that is none', packedAs(Buffer.from('text'), { zstd: false, chunks: 2, bodyBytes: 4 })],
    [
      'a list of chunks of more than a value may have',
      packedAs(encodeChunkList('of-this-one-fill', [Buffer.from('a')]), { zstd: false, chunks: 1, bodyBytes: 2 ** 31 }),
    ],
  ])('%s: no entry, no exception, no more memory than it says', async (_, stored) => {
    const before = process.memoryUsage().arrayBuffers;
    expect(await newPacker().unpack(stored, settings, none)).toBeUndefined();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000);
  });

  it('chunks that are together not what they should be', async () => {
    const chunk = Buffer.from('chunk');
    const list = encodeChunkList('of-this-one-fill', [chunk]);
    const answer = (): Promise<readonly Uint8Array[]> => Promise.resolve([chunk]);
    const packer = newPacker();
    for (const [bodyBytes, is] of [
      [5, true],
      [4, false],
      [6, false],
    ] as const) {
      const found = await packer.unpack(packedAs(list, { zstd: false, chunks: 1, bodyBytes }), settings, answer);
      expect(found !== undefined).toBe(is);
    }
    expect(packer.counters.chunks).toMatchObject({ read: 2, missing: 1 });
  });
});
