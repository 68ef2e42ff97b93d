import { SqlError } from './sql.ts';
import type { Executed } from './write-through.ts';
import type { WriteFailure } from './writer.ts';

/** read_only_sql_transaction: the server does not take writes, so the address has led to another one than it should. */
const READ_ONLY = '25006';
/** What BEGIN READ WRITE says there; of any other statement it means that Postgres cannot do such a thing at all. */
const NOT_SUPPORTED = '0A000';

/**
 * Integrity constraints and the check option of views; data exceptions, and limits that nothing but large values can pass
 * (Postgres documentation, appendix A).
 */
const CONFLICT = /^(?:23|44)/;
const INVALID = /^(?:22|54)/;
/** All others of Postgres' own classes. What is of none of them, or of P0, a function has raised. */
const OF_POSTGRES = /^(?:[023]|4[02]|5[3578]|72|F0|HV|XX)/;

/** The server does not take writes. */
export function isReadOnly({ code }: SqlError): boolean {
  return code === READ_ONLY;
}

/** Why a transaction did not begin. */
export function notBegun(error: SqlError): SqlError {
  return error.code === NOT_SUPPORTED
    ? new SqlError('unavailable', error.message, { code: READ_ONLY, sent: true })
    : error;
}

/**
 * It was sent, and nobody said what came of it.
 * @param isOver nothing of it is under way any more, so it was written by now or never will be
 */
export function unknown({ message, code }: SqlError, isOver: boolean): Executed {
  const hope = isOver ? 'it is over, so' : 'it may still be;';
  const detail = `it was sent, but it is not known whether it was committed (${message}): ${hope} read the value to find out`;
  return { kind: 'failed', why: 'unknown', detail, sqlState: code, isOver };
}

/** Nothing was written. */
export function failed(error: SqlError): Executed {
  const { code } = error;
  return { kind: 'failed', why: failureOf(error), detail: sayable(error), sqlState: code };
}

function failureOf(error: SqlError): WriteFailure {
  const { why, code = '' } = error;
  if (isReadOnly(error)) return 'unavailable';
  if (why === 'too-large') return 'misconfigured';
  if (why !== 'error') return why;
  if (CONFLICT.test(code)) return 'conflict';
  return INVALID.test(code) || !OF_POSTGRES.test(code) ? 'invalid' : 'misconfigured';
}

/** Postgres quotes what it could not read at the end of the message; it may be longer than anybody wants to see. */
function sayable({ message, code = '' }: SqlError): string {
  return code.startsWith('22') ? message.replace(/: "[^]*$/, '') : message;
}
