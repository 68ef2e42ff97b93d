/** The server is a standby: there is nothing to follow until it is promoted, or the address leads to another one. */
export class StandbyError extends Error {
  override name = 'StandbyError';

  constructor() {
    super('the server is a standby: waiting until it is promoted, or the address leads to the primary');
  }
}

/** What a person has to mend before the invalidator can work; trying again alone does not help. */
export class OperatorError extends Error {
  override name = 'OperatorError';
  /** Statements that mend it, to be run by a role that may. */
  readonly sql: readonly string[];

  constructor(message: string, sql: readonly string[] = []) {
    super(
      sql.length === 0
        ? message
        : `${message}. Run as a superuser (or the owner):\n${sql.map((line) => `  ${line}`).join('\n')}`,
    );
    this.sql = sql;
  }
}

/** Why a command has no connection to Postgres. Where a name has several addresses, what each of them said. */
export function noDatabase(error: unknown): OperatorError {
  const reasons = error instanceof AggregateError ? (error.errors as Error[]) : [error as Error];
  const reason = reasons.map(({ message }) => message).join(', ');
  return new OperatorError(`Postgres cannot be used: ${reason} (TIDEMARK_POSTGRES_URL says where it is, and as whom)`);
}
