import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Batch, decodeBatch, encodeBatch, WIRE_VERSION } from './batch.ts';
import { BatchSchema } from './gen/tidemark/v1/batch_pb.js';
import { seal } from './seal.ts';
import { lsn, text } from './testing/arbitraries.ts';

const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const uint32 = fc.nat(2 ** 31 - 1);
const names = fc.array(text, { maxLength: 3 });

const required = fc.record({
  source: text,
  epoch: lsn,
  positions: fc.uniqueArray(lsn, { minLength: 2, maxLength: 8 }).map((all) => all.toSorted((a, b) => a - b)),
  inside: fc.nat(6),
  visible: lsn,
  committedAtUs: lsn,
  publishedAtUs: lsn,
  systemId: uint64,
  timeline: uint32,
  heartbeat: fc.boolean(),
  covers: fc.array(uint64, { maxLength: 4 }),
  tables: fc.array(fc.record({ schema: text, table: text, changes: fc.uint8Array({ maxLength: 30 }) }), {
    maxLength: 3,
  }),
  purges: fc.array(fc.record({ commit: uint32, namespace: text, keys: names, tags: names, all: fc.boolean() }), {
    maxLength: 3,
  }),
});

/** None on the wire means unknown, which is told by absence. */
const catalog = fc.option(
  fc.array(uint64, { minLength: 1, maxLength: 3 }).map((digests) => ({ catalog: digests })),
  { nil: {} },
);

const marks = fc.option(
  fc.array(fc.record({ commit: uint32, text }), { minLength: 1, maxLength: 3 }).map((texts) => ({ marks: texts })),
  { nil: {} },
);

const batch: fc.Arbitrary<Batch> = fc.tuple(required, catalog, marks).map(([all, digests, texts]): Batch => {
  const { positions, inside, visible, ...rest } = { ...all, ...digests, ...texts };
  const [from = 0, ...above] = positions;
  const to = above.at(-1) ?? from;
  return Object.assign(rest, { from, to, visible: Math.min(visible, to), commits: above.slice(0, inside) });
});

const idle: Batch = {
  source: 'main',
  epoch: 1,
  from: 100,
  to: 200,
  visible: 150,
  committedAtUs: 0,
  publishedAtUs: 0,
  systemId: 0n,
  timeline: 1,
  heartbeat: true,
  covers: [],
  commits: [],
  tables: [],
  purges: [],
};

/** A record as some other program would write it. */
const written = (init: MessageInitShape<typeof BatchSchema>): Uint8Array =>
  seal(toBinary(BatchSchema, create(BatchSchema, init)));

/** Protobuf messages carry their type's name, which is not part of the contract. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (key, part: unknown) =>
      key === '$typeName' ? undefined : typeof part === 'bigint' ? `${part}n` : part,
    ),
  );

describe('encodeBatch and decodeBatch', () => {
  it('are inverse', () => {
    fc.assert(
      fc.property(batch, (value) => {
        expect(plain(decodeBatch(encodeBatch(value)))).toEqual(plain({ kind: 'batch', batch: value }));
      }),
      { numRuns: 300 },
    );
  });

  it('keep full precision at the largest position', () => {
    const to = Number.MAX_SAFE_INTEGER;
    const value = { ...idle, from: to - 1, to, visible: to, commits: [to] };
    expect(decodeBatch(encodeBatch(value))).toMatchObject({ batch: { from: to - 1, to, visible: to, commits: [to] } });
  });

  it.each<[string, Partial<Batch>]>([
    ['from after to', { from: 201 }],
    ['visible after to', { visible: 201 }],
    ['a commit at from, which no lease of that position would notice', { commits: [100] }],
    ['a commit after to', { commits: [201] }],
    ['commits out of order', { commits: [180, 170] }],
    ['a position that is no integer', { to: 200.5 }],
    ['a position that is no number', { to: Number.NaN }],
  ])('a writer refuses %s', (_, change) => {
    expect(() => encodeBatch({ ...idle, ...change })).toThrow(RangeError);
  });

  it('commits that share a position are allowed: a purge outside of transactions has no position of its own', () => {
    expect(decodeBatch(encodeBatch({ ...idle, commits: [150, 150] }))).toMatchObject({
      batch: { commits: [150, 150] },
    });
  });
});

describe("the reader's rule", () => {
  const header = { version: 9, source: 'main', epoch: 3n, from: 10n, to: 20n, visible: 15n };

  it('[I1] a record for newer readers says only where it belongs, so that it can be applied as a flush', () => {
    expect(decodeBatch(written({ ...header, minReader: WIRE_VERSION + 1, commits: [99n] }))).toEqual({
      kind: 'too-new',
      span: { epoch: 3, from: 10, to: 20 },
      visible: 15,
      minReader: WIRE_VERSION + 1,
    });
  });

  it('a newer record that this version may read is read, unknown fields and all', () => {
    const body = toBinary(BatchSchema, create(BatchSchema, { ...header, minReader: WIRE_VERSION }));
    // Field 100, varint 7.
    const record = seal(Uint8Array.of(...body, 0xa0, 0x06, 0x07));
    expect(decodeBatch(record)).toMatchObject({ kind: 'batch', batch: { epoch: 3, to: 20 } });
  });

  it.each<[string, MessageInitShape<typeof BatchSchema>]>([
    ['no version', { ...header, version: 0 }],
    ['from after to', { ...header, from: 21n }],
    ['visible after to', { ...header, visible: 21n }],
    ['a position beyond 2^53', { ...header, to: 2n ** 53n }],
    ['an epoch beyond 2^53', { ...header, epoch: 2n ** 53n }],
    ['a commit at from', { ...header, commits: [0n] }],
    ['a commit after to', { ...header, commits: [11n] }],
    ['commits out of order', { ...header, commits: [5n, 4n] }],
    ['a commit that overflows', { ...header, commits: [2n ** 64n - 1n] }],
  ])('[I1] a record with %s is no batch', (_, init) => {
    expect(() => decodeBatch(written(init))).toThrow(RangeError);
  });
});

describe('damage', () => {
  it('[I1] a record with any bit flipped, or cut anywhere, even between two fields, is no batch', () => {
    fc.assert(
      fc.property(batch, fc.nat(), (value, at) => {
        const record = encodeBatch(value);
        const bit = at % (record.length * 8);
        const damaged = record.slice();
        damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(() => decodeBatch(damaged)).toThrow('no batch');
        for (let end = 0; end < record.length; end++)
          expect(() => decodeBatch(record.subarray(0, end))).toThrow('no batch');
      }),
      { numRuns: 50 },
    );
  });

  it('bytes of any other kind are no batch', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(() => decodeBatch(bytes)).toThrow('no batch');
        // Sealed or not: a writer of something else may happen to use the same checksum.
        let decoded: unknown;
        try {
          decoded = decodeBatch(seal(bytes));
        } catch {
          return;
        }
        expect(decoded).toHaveProperty('kind');
      }),
    );
  });
});
