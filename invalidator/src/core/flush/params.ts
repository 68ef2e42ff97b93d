import type { WriteParam } from '@tidemark/proto';
import type { Runnable } from './plan.ts';

/** What Postgres is given for a parameter. */
export type SqlValue = string | Uint8Array | readonly string[] | null;

const VALUES: Readonly<Record<WriteParam, (step: Runnable) => SqlValue>> = {
  '{key}': ({ write }) => write.key,
  // What is no UTF-8 is not made up: it fails as Postgres would have it fail.
  '{body}': ({ write }) => (write.kind === 'delete' ? null : textOf(write.body)),
  '{bytes}': ({ write }) => (write.kind === 'delete' ? null : write.body),
  '{contentType}': ({ write }) => (write.kind === 'delete' ? null : write.contentType),
  '{tags}': ({ write }) => write.tags,
  '{at}': ({ write }) => new Date(write.atMs).toISOString(),
  '{offset}': ({ record }) => String(record.offset),
};

/** A value that cannot be given to Postgres; `code` is the SQLSTATE that Postgres would have answered. */
export class ValueError extends Error {
  override name = 'ValueError';
  readonly code = '22021';
}

/** Values of a statement's parameters, in their order. Throws {@link ValueError}. */
export function valuesOf(step: Runnable): readonly SqlValue[] {
  return step.statement.params.map((param) => VALUES[param](step));
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ValueError('the body is not UTF-8, which {body} has to be: use {bytes} for a column of type bytea');
  }
}

/** An array of text as Postgres reads it (postgresql.org/docs/current/arrays.html#ARRAYS-IO). */
export function arrayLiteral(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`;
}

/** Text of Postgres holds no NUL; a parked record itself is stored as it is. */
export function storable(text: string): string {
  return text.replaceAll('\0', '\\0').toWellFormed();
}
