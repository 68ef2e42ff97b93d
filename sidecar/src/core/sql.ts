/** One statement, or several without values. */
export interface SqlStatement {
  readonly text: string;
  /** Travel beside the text and never become part of it. */
  readonly values?: readonly (string | null)[];
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

const QUERY_CANCELED = '57014';
/**
 * Classes and codes after which the same may work later: lost connections, too few resources, a server that starts, stops or is
 * busy with recovery, deadlocks (postgresql.org/docs/current/errcodes-appendix.html).
 */
const PASSING = /^(?:08|40|53|57P|58)/;

/** What a SQLSTATE means for the caller. */
export function failureOf(code: string): SqlFailure {
  if (code === QUERY_CANCELED) return 'timeout';
  return PASSING.test(code) ? 'unavailable' : 'error';
}
