/**
 * What a failed statement of a flush means:
 * - `own`: the write itself is at fault, and would be at any other time: it is parked;
 * - `passing`: the server or the way to it is: the same is tried again until it works;
 * - `unclear`: either may be: tried again a few times, then parked.
 */
export type FailureKind = 'own' | 'passing' | 'unclear';

/** Classes of SQLSTATE (postgresql.org/docs/current/errcodes-appendix.html) that say nothing of the write. */
const PASSING_CLASSES: ReadonlySet<string> = new Set([
  '08', // connection exception
  '28', // invalid authorization
  '3D', // the database is not there (yet)
  '40', // transaction rollback: serialization failures and deadlocks
  '53', // insufficient resources
  '57', // operator intervention: shutdowns
]);
const PASSING_CODES: ReadonlySet<string> = new Set([
  // Objects that are in use: lock_timeout is 55P03.
  '55P03',
  '55006',
  // The server is a standby by now. Others of the class say that the statement cannot run in a transaction, such as VACUUM (25001).
  '25006',
  // The transaction failed before, or took too long.
  '25P02',
  '25P03',
  '25P04',
]);
/** 57014: statement_timeout, or somebody cancelled it; 58: the system's I/O; XX: faults of Postgres or an extension. */
const UNCLEAR = /^(57014|58|XX)/;

/**
 * Where Postgres finds that a statement has another number of parameters than it is given, as where one stands in a comment of it. It calls
 * that 08P01 (protocol violation), which is also what PgBouncer says of everything; only Postgres names its routine.
 */
const BINDING = 'exec_bind_message';

/** What the server says of a failure; nothing where the way to it failed. */
export interface Failure {
  /** SQLSTATE. */
  readonly code?: string | undefined;
  /** Of the server's source, which reported it. */
  readonly routine?: string | undefined;
}

/** By the SQLSTATE of an error; anything else (`ECONNRESET`, no code at all) came from the way to the server. */
export function failureKind({ code, routine }: Failure): FailureKind {
  if (code === '08P01' && routine === BINDING) return 'own';
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code)) return 'passing';
  if (UNCLEAR.test(code)) return 'unclear';
  return PASSING_CLASSES.has(code.slice(0, 2)) || PASSING_CODES.has(code) ? 'passing' : 'own';
}
