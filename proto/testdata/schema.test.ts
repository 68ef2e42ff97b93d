import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WIRE_VERSION } from '../src/batch.ts';
import { BatchSchema } from '../src/gen/tidemark/v1/batch_pb.js';
import { readLock, schemaDigest } from './schema-lock.ts';

const proto = fileURLToPath(new URL('../', import.meta.url));
const bin = join(proto, '../node_modules/.bin');
const schemaFile = 'schema/tidemark/v1/batch.proto';

function buf(cwd: string, ...args: string[]): { code: number | null; output: string } {
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` };
  const { status, stdout, stderr } = spawnSync(join(bin, 'buf'), args, { cwd, env, encoding: 'utf8' });
  return { code: status, output: stdout + stderr };
}

const breaking = (cwd: string, version: string) =>
  buf(cwd, 'breaking', '--against', join(proto, `testdata/baseline.v${version}.binpb`));

describe('the schema of the record', () => {
  it('has not changed since its version was decided', () => {
    const wanted = readLock()[WIRE_VERSION];
    expect(
      schemaDigest(),
      `proto/schema changed. Decide: if version ${WIRE_VERSION} was released, raise WIRE_VERSION in proto/src/batch.ts (and minReader ` +
        'in encodeBatch, if older readers must not ignore the change); then run "node proto/testdata/regenerate.ts schema" and, for ' +
        'vectors of the new version, "… vectors". proto/SPEC.md, "Changing the contract", says more.',
    ).toBe(wanted);
  });

  it('[I1] keeps what a reader of any version relies on: fields 1 to 7 and the checksum', () => {
    const fixed = BatchSchema.fields
      .filter(({ number }) => number <= 7 || number === 17)
      .map(({ number, name, proto: { type } }) => `${number} ${name} ${type}`);
    // Types of descriptor.proto: 4 uint64, 7 fixed32, 9 string, 13 uint32.
    expect(fixed).toEqual([
      '1 version 13',
      '2 min_reader 13',
      '3 source 9',
      '4 epoch 4',
      '5 from 4',
      '6 to 4',
      '7 visible 4',
      '17 checksum 7',
    ]);
  });

  it('is clean by buf lint', () => {
    expect(buf(proto, 'lint')).toEqual({ code: 0, output: '' });
  });

  it.each(Object.keys(readLock()))('can be read by what read version %s', (version) => {
    expect(breaking(proto, version)).toEqual({ code: 0, output: '' });
  });
});

describe('a change that would break readers is noticed', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidemark-schema-'));
    cpSync(join(proto, 'schema'), join(folder, 'schema'), { recursive: true });
    cpSync(join(proto, 'buf.yaml'), join(folder, 'buf.yaml'));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([
    ['a field under another number', 'uint64 to = 6;', 'uint64 to = 60;'],
    ['a field of another type', 'repeated fixed64 covers = 13;', 'repeated uint64 covers = 13;'],
    ['a field that is gone', '  bool heartbeat = 12;\n', ''],
  ])('%s', (_, present, planted) => {
    const file = join(folder, schemaFile);
    const text = readFileSync(file, 'utf8');
    expect(text).toContain(present);
    writeFileSync(file, text.replace(present, planted));
    const { code, output } = breaking(folder, `${WIRE_VERSION}`);
    expect(output).toMatch(/field "\d+"/i);
    expect(code).not.toBe(0);
  });
});
