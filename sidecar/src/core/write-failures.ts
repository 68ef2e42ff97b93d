import type { SqlError } from './sql.ts';
import type { Executed } from './write-through.ts';
import type { WriteFailure } from './writer.ts';

/** read_only_sql_transaction, and what BEGIN READ WRITE says on a standby (feature_not_supported). */
const READ_ONLY = /^(?:25006|0A000)$/;

/** The server does not take writes: the address has led to another one than it should. */
export function isReadOnly({ code = '' }: SqlError): boolean {
  return READ_ONLY.test(code);
}

/** It was sent, and nobody said what came of it. */
export function unknown({ message, code }: SqlError): Executed {
  const detail = `it was sent, but it is not known whether it was committed (${message}): read the value to find out`;
  return { kind: 'failed', why: 'unknown', detail, sqlState: code };
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
  // Integrity constraints; data exceptions and what functions raise (Postgres documentation, appendix A).
  if (code.startsWith('23')) return 'conflict';
  return code.startsWith('22') || code === 'P0001' ? 'invalid' : 'misconfigured';
}

/** Postgres quotes what it could not read at the end of the message; it may be longer than anybody wants to see. */
function sayable({ message, code = '' }: SqlError): string {
  return code.startsWith('22') ? message.replace(/: "[^]*$/, '') : message;
}
