import { SqlError, type SqlPool } from '../core/sql.ts';
import type { KeySource, NoKeys } from '../core/warm-ports.ts';

const TIMEOUT_MS = 30_000;
const MAX_BYTES = 32 * 1024 * 1024;
/** As for keys that are cached (http/address.ts): a longer one is asked for by nobody. */
const MAX_KEY_BYTES = 512;

/** Keys that a query yields, of the database that values are loaded from. */
export class SqlKeys implements KeySource {
  readonly #pool: SqlPool;

  constructor(pool: SqlPool) {
    this.#pool = pool;
  }

  async keys(sql: string, most: number): Promise<readonly string[] | NoKeys> {
    const bounded = `select * from (${sql.replace(/[;\s]+$/, '')}\n) as warm limit ${most}`;
    try {
      const { columns, rows } = await this.#pool.use(
        async (connection) => {
          const ms = connection.leftMs();
          // In one round trip; a statement that fails ends the transaction, and COMMIT then undoes nothing that matters.
          const [, answer] = await Promise.all([
            connection.send({ text: `begin read only; set local statement_timeout = ${ms}` }),
            connection.send({ text: bounded, maxBytes: MAX_BYTES }),
            connection.send({ text: 'commit' }),
          ]);
          return answer;
        },
        { timeoutMs: TIMEOUT_MS },
      );
      if (columns.length !== 1)
        return { failed: `warm.sql: found ${columns.length} columns, expected one, the key of each value` };
      return rows.flatMap(([key]) => (isKey(key) ? [key] : []));
    } catch (error) {
      if (error instanceof SqlError) return { failed: `warm.sql: ${error.message}` };
      throw error;
    }
  }
}

function isKey(text: string | null | undefined): text is string {
  return text !== null && text !== undefined && text !== '' && Buffer.byteLength(text) <= MAX_KEY_BYTES;
}
