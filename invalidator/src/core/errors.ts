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
