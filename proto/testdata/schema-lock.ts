// Which schema each version of the wire contract has, so that none changes unnoticed.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { file_tidemark_v1_batch } from '../src/gen/tidemark/v1/batch_pb.js';
import { readJson, testdata } from './vectors.ts';

/** Digest of each WIRE_VERSION's schema. */
export type SchemaLock = Readonly<Record<string, string>>;

export function readLock(): SchemaLock {
  return existsSync(new URL('schema.lock.json', testdata)) ? readJson<SchemaLock>('schema.lock.json') : {};
}

/** SHA-256 of the compiled schema: names, numbers and types count, comments and layout do not. */
export function schemaDigest(): string {
  return createHash('sha256').update(toBinary(FileDescriptorProtoSchema, file_tidemark_v1_batch.proto)).digest('hex');
}
