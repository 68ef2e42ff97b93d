/** One statement, or several without values. */
export interface SqlStatement {
  readonly text: string;
  /** Travel beside the text and never become part of it. */
  readonly values?: readonly (string | null)[];
  /**
   * It comes again and again: the server keeps its plan, where a pooler lets it. The text must be one of few.
   */
  readonly again?: boolean;
  /** Rejects with `too-large` once the values of the answer are longer; what comes behind is dropped as it arrives. */
  readonly maxBytes?: number;
}

/** What a statement answered; of several the last that has columns. */
export interface SqlRows {
  readonly columns: readonly {
    readonly name: string;
    /** Its OID (postgresql.org/docs/current/catalog-pg-type.html). */
    readonly type: number;
  }[];
  /** As Postgres prints them. */
  readonly rows: readonly (readonly (string | null)[])[];
  /** What was done, such as `INSERT`; a COMMIT that undoes says `ROLLBACK`. */
  readonly command: string;
  /** Rows that were touched or found; undefined where Postgres tells none. */
  readonly count: number | undefined;
}

/** A connection, for the time of one piece of work. */
export interface SqlConnection {
  /** Milliseconds that the work still has, at least 1: for `statement_timeout`, so that the server ends it too. */
  leftMs(): number;
  /**
   * Sends a statement at once, also while others are under way, so that several take one round trip. They run and answer in
   * order. Rejects with {@link SqlError}.
   */
  send(statement: SqlStatement): Promise<SqlRows>;
  /** It led to the wrong server: the next work gets another one. */
  discard(): void;
}

/** A few connections to one Postgres, made when they are needed. */
export interface SqlPool {
  readonly most: number;
  /** Connections that work. */
  readonly inUse: number;
  /** Work that waits for a connection. */
  readonly waiting: number;
  /**
   * Runs work on a connection. What it sent is awaited by it; a transaction that it leaves open costs the connection. Rejects with
   * {@link SqlError}, or with what `work` rejects with, at the latest when its time is over.
   */
  use<T>(
    work: (connection: SqlConnection) => Promise<T>,
    limits: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<T>;
  /** Waits for what is under way, for so long. */
  close(graceMs: number): Promise<void>;
}

/**
 * `busy`: no connection became free. `timeout`: no answer in time. `unavailable`: Postgres cannot be reached, or will take work again
 * by itself. `error`: the statement cannot be done.
 */
export type SqlFailure = 'busy' | 'timeout' | 'unavailable' | 'error' | 'too-large';

/** Why Postgres did not do what it was asked; without credentials, fit for a log. */
export class SqlError extends Error {
  override name = 'SqlError';
  readonly why: SqlFailure;
  /** SQLSTATE, where the server answered. */
  readonly code: string | undefined;
  /** Whether a statement may have reached the server. */
  readonly sent: boolean;
  /** A value beside the statement is none of the type that stands there. */
  readonly isWrongValue: boolean;

  constructor(
    why: SqlFailure,
    message: string,
    details: { readonly code?: string; readonly sent: boolean; readonly isWrongValue?: boolean },
  ) {
    super(message);
    this.why = why;
    this.code = details.code;
    this.sent = details.sent;
    this.isWrongValue = details.isWrongValue ?? false;
  }
}

/**
 * A plan that was kept is not there, or one of the same name is: a pooler in transaction mode has led to another server. Nothing is kept from
 * then on, and the same may be sent again at once.
 */
const PLAN_GONE = /^(?:26000|42P05)$/;
/** query_canceled, lock_not_available, and the ends of transactions that idle or last too long. */
const TIMED_OUT = /^(?:57014|55P03|25P03|25P04)$/;
/**
 * Classes and codes after which the same may work later: lost connections, too few resources, a server that starts, stops or is
 * busy with recovery, deadlocks (postgresql.org/docs/current/errcodes-appendix.html).
 */
const PASSING = /^(?:08|40|53|57P|58)/;

/** Whether nothing but a kept plan has failed. */
export function isPlanGone(code: string | undefined): boolean {
  return PLAN_GONE.test(code ?? '');
}

/** What a SQLSTATE means for the caller. */
function failureOf(code: string): SqlFailure {
  if (TIMED_OUT.test(code)) return 'timeout';
  return isPlanGone(code) || PASSING.test(code) ? 'unavailable' : 'error';
}

/** Errors of the server have a SQLSTATE of five characters and a severity, errors of sockets and TLS a name. */
export interface ServerError extends Error {
  readonly code?: string;
  readonly severity?: string;
  /** What the server was doing. */
  readonly where?: string;
}

/** Why there is no connection. */
export function notConnected(error: ServerError): SqlError {
  const { code, severity, message } = error;
  if (code !== undefined && severity !== undefined) {
    const why = failureOf(code);
    return new SqlError(why === 'timeout' ? 'unavailable' : why, message, { code, sent: false });
  }
  // Several addresses were tried in vain: node says why of each only inside.
  return new SqlError('unavailable', `Postgres cannot be reached: ${message || (code ?? 'no reason')}`, {
    sent: false,
  });
}

/** Why a statement was not done. */
export function whileWorking(error: ServerError): SqlError {
  const { code, severity, message, where = '' } = error;
  if (code !== undefined && severity !== undefined) {
    // So it says of a value that it cannot read (bind_param_error_callback in Postgres' postgres.c), behind what its type says.
    const isWrongValue = /(?:^|\n)unnamed portal parameter \$\d+(?: = [^]*)?$/.test(where);
    return new SqlError(failureOf(code), message, { code, sent: true, isWrongValue });
  }
  return new SqlError('unavailable', `the connection to Postgres was lost: ${message}`, { sent: true });
}
