import type { Client, Connection, Submittable } from 'pg';

/** One statement of a pipeline. */
export interface PipelinedStatement {
  readonly sql: string;
  readonly values: readonly (string | Buffer | null)[];
}

/** Runs out only while it runs, and is far longer than anything: {@link Pipeline} has a limit of its own. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Runs statements in their order without waiting for the answer of one before the next one is sent: a round trip for all instead of one
 * for each. It is the server's pipelining (postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING): the first
 * that fails fails all, since everything up to the only Sync is skipped then. Rows that come are not looked at. Only within a
 * transaction that was begun before: what was done before a failure is taken back by its end.
 *
 * node-postgres can send queries before the answers of others too, but with a Sync each, behind which the next statement runs although one
 * has failed, and with a time limit for each that counts from when all were sent.
 *
 * Rejects with what the server says of the first failure, or when it says nothing for `silenceMs`; then the connection is over.
 */
export function runPipelined(
  client: Client,
  statements: readonly PipelinedStatement[],
  { silenceMs }: { readonly silenceMs: number },
): Promise<void> {
  if (statements.length === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => (error === undefined ? resolve() : reject(error));
    client.query(new Pipeline(statements, { silenceMs, settle }));
  });
}

/** What node-postgres calls of a query that is under way; it finds out by itself which of these there are. */
class Pipeline implements Submittable {
  readonly query_timeout = NO_TIMEOUT_MS;
  /** Node-postgres puts itself in between, to end its timer. */
  callback: (error?: Error) => void;
  readonly #statements: readonly PipelinedStatement[];
  readonly #silenceMs: number;
  #silence: NodeJS.Timeout | undefined;

  constructor(
    statements: readonly PipelinedStatement[],
    of: { readonly silenceMs: number; readonly settle: (error?: Error) => void },
  ) {
    this.#statements = statements;
    this.#silenceMs = of.silenceMs;
    this.callback = of.settle;
  }

  submit(connection: Connection): void {
    const { stream } = connection;
    const silent = new Error(`Postgres did not answer for ${this.#silenceMs} ms`);
    this.#silence = setTimeout(() => stream.destroy(silent), this.#silenceMs);
    // One packet after the other is filled, instead of one for each message.
    stream.cork();
    let parsed: string | undefined;
    for (const { sql, values } of this.#statements) {
      if (sql !== parsed) connection.parse({ name: '', text: sql, types: [] }, true);
      parsed = sql;
      connection.bind({ values: [...values] }, true);
      connection.execute({}, true);
    }
    connection.sync();
    stream.uncork();
  }

  handleCommandComplete(): void {
    this.#silence?.refresh();
  }

  handleRowDescription(): void {}

  handleDataRow(): void {}

  handleEmptyQuery(): void {}

  handleError(error: Error): void {
    clearTimeout(this.#silence);
    this.callback(error);
  }

  handleReadyForQuery(): void {
    clearTimeout(this.#silence);
    this.callback();
  }
}
