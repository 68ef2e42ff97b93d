import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeBatch } from '../src/batch.ts';
import { decodeEntry, decodeStored, isTagged } from '../src/envelope.ts';
import { hash32 } from '../src/hash.ts';
import { bucketKeys, bucketOf, fenceMember } from '../src/redis/layout.ts';
import { compileRules, rulesHash } from '../src/rules.ts';
import {
  ENVELOPES,
  type EntryVector,
  entryOf,
  meaningOf,
  type Names,
  plain,
  readBlocks,
  readBytes,
  readJson,
  RECORDS,
  type RecordVector,
  testdata,
  vectorsIn,
  versionsOf,
  writeEntry,
  writeRecord,
} from './vectors.ts';

const MEND =
  'what other versions wrote must stay readable; if this version shall write something else, see "Changing the contract" in proto/SPEC.md';

describe('records', () => {
  const all = versionsOf('record').flatMap(vectorsIn);

  it('of this version are there', () => {
    expect(vectorsIn(RECORDS).length).toBeGreaterThanOrEqual(12);
  });

  it.each(all)('%s is read as it was meant', (path) => {
    const vector = readJson<RecordVector>(`${path}.json`);
    const decoded = decodeBatch(readBytes(`${path}.bin`));
    expect(plain(decoded), MEND).toEqual(meaningOf(vector));
    const blocks =
      'batch' in vector
        ? vector.batch.tables.map(({ schema, table, columns, reads }) => ({ schema, table, columns, reads }))
        : [];
    expect(readBlocks(decoded), MEND).toEqual(blocks);
  });

  it.each(vectorsIn(RECORDS))('%s is written byte for byte', (path) => {
    expect(existsSync(new URL(`${path}.bin`, testdata)), 'run: node proto/testdata/regenerate.ts vectors').toBe(true);
    const written = writeRecord(readJson<RecordVector>(`${path}.json`));
    expect(Buffer.from(written).toString('hex'), MEND).toBe(Buffer.from(readBytes(`${path}.bin`)).toString('hex'));
  });
});

describe('envelopes', () => {
  it('of this version are there', () => {
    expect(vectorsIn(ENVELOPES).length).toBeGreaterThanOrEqual(5);
  });

  it.each(vectorsIn(ENVELOPES))('%s is read as it was meant and written byte for byte', (path) => {
    const vector = readJson<EntryVector>(`${path}.json`);
    const bytes = readBytes(`${path}.bin`);
    const entry = entryOf(vector.entry);
    const { packing = { zstd: false, chunks: 0, bodyBytes: entry.body.length } } = vector;
    expect(decodeStored(bytes), MEND).toEqual({ entry, packing });
    expect(decodeEntry(bytes)).toEqual(vector.packing === undefined ? entry : undefined);
    expect(isTagged(bytes)).toBe(vector.entry.tags.length > 0);
    expect(Buffer.from(writeEntry(vector)).toString('hex'), MEND).toBe(Buffer.from(bytes).toString('hex'));
  });
});

describe('names that every process must agree on', () => {
  const names = readJson<Names>('names.json');

  it.each(names.rules)('[I8] the rules of $name in $source have the hash $hash', ({ hash, ...input }) => {
    expect(rulesHash(input), MEND).toBe(BigInt(`0x${hash}`));
    expect(compileRules([input]).namespaces[0]?.hashHex).toBe(hash);
  });

  it.each(names.hash32)('$text under seed $seed hashes to $hash', ({ seed, text, hash }) => {
    expect(hash32(seed, text), MEND).toBe(hash);
  });

  it.each(names.buckets)('$key lies in bucket $bucket of $buckets', ({ buckets, hashHex, key, bucket }) => {
    expect(bucketOf(buckets, hashHex, key), MEND).toBe(bucket);
  });

  it('keys of Redis', () => {
    const { source, bucket, hashHex, generation, key, names: expected } = names.keys;
    const keys = bucketKeys(source, bucket);
    expect({
      log: keys.log,
      keyFences: keys.keyFences,
      tagFences: keys.tagFences,
      pair: keys.pair(hashHex),
      entry: keys.entry(generation, hashHex, key),
      chunk: keys.chunk('AZaz09_-AZaz09_-', 2),
      plain: keys.plain('user-profile', key),
      claim: keys.claim(hashHex, key),
      member: fenceMember(hashHex, key),
    }).toEqual(expected);
  });
});
