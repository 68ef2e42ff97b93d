// Writes on purpose what the tests compare with. Run it only after the decision that proto/SPEC.md ("Changing the
// contract") asks for, and read the diff.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WIRE_VERSION } from '../src/batch.ts';
import { readLock, schemaDigest } from './schema-lock.ts';
import {
  ENVELOPES,
  type EntryVector,
  readJson,
  RECORDS,
  type RecordVector,
  testdata,
  vectorsIn,
  writeEntry,
  writeRecord,
} from './vectors.ts';

const HELP = `Usage: node proto/testdata/regenerate.ts vectors|schema

  vectors  the bytes of this version's golden vectors, from their JSON
  schema   the digest of the schema and the baseline image, for this WIRE_VERSION
`;

function regenerateVectors(): void {
  for (const path of vectorsIn(RECORDS)) write(`${path}.bin`, writeRecord(readJson<RecordVector>(`${path}.json`)));
  for (const path of vectorsIn(ENVELOPES)) write(`${path}.bin`, writeEntry(readJson<EntryVector>(`${path}.json`)));
}

function regenerateSchema(): void {
  write('schema.lock.json', `${JSON.stringify({ ...readLock(), [WIRE_VERSION]: schemaDigest() }, undefined, 2)}\n`);
  const proto = fileURLToPath(new URL('../', testdata));
  const bin = join(proto, '../node_modules/.bin');
  const image = `testdata/baseline.v${WIRE_VERSION}.binpb`;
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` };
  const buf = spawnSync(join(bin, 'buf'), ['build', '--exclude-source-info', '-o', image], {
    cwd: proto,
    env,
    stdio: 'inherit',
  });
  if (buf.status !== 0) process.exit(1);
  process.stdout.write(`written: ${image}\n`);
}

function write(path: string, content: Uint8Array | string): void {
  writeFileSync(new URL(path, testdata), content);
  process.stdout.write(`written: testdata/${path}\n`);
}

const [what] = process.argv.slice(2);
if (what === 'vectors') regenerateVectors();
else if (what === 'schema') regenerateSchema();
else process.stdout.write(HELP);
