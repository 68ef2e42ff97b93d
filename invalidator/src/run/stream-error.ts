/** The replication stream itself failed: the server refused it, or what it sent cannot be understood. */
export class StreamError extends Error {
  override name = 'StreamError';
  /** SQLSTATE, if the server said one. */
  readonly code: string | undefined;

  constructor(cause: Error) {
    super(cause.message, { cause });
    this.code = (cause as { code?: string }).code;
  }

  /** Whether trying again at the same place may meet the same failure for ever; a lost connection does not count. */
  get isStubborn(): boolean {
    const { cause } = this;
    if (cause instanceof Error && cause.name === 'PgoutputError') return true;
    // Classes of errors that the server's state, not its absence, decides: not 08 (connection), 53 (resources), 57 (operator).
    return (
      this.code !== undefined &&
      /^[0-9A-Z]{5}$/.test(this.code) &&
      !/^(08|53|57)/.test(this.code) &&
      this.code !== OBJECT_IN_USE
    );
  }
}

const OBJECT_IN_USE = '55006';
