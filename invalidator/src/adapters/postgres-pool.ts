import { Pool, type ClientBase, type ClientConfig } from 'pg';

/** A few connections for requests that come from outside, so that they disturb nothing else. */
export interface RequestPool {
  /** Runs work on a connection; rejects when none can be had or the work takes too long. */
  use<T>(work: (client: ClientBase, version: number) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 4;
const DEADLINE_MS = 3000;

export function openRequestPool(connection: ClientConfig): RequestPool {
  const pool = new Pool({
    ...connection,
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: DEADLINE_MS,
    query_timeout: DEADLINE_MS,
    idleTimeoutMillis: 30_000,
  });
  pool.on('error', () => undefined); // an idle connection ended; the next request makes a new one
  // The pool listens to idle ones only. The request of one that is in use fails by itself.
  pool.on('connect', (client) => client.on('error', () => undefined));
  let version = 0;
  return {
    async use(work) {
      const client = await pool.connect();
      try {
        if (version === 0) {
          const { rows } = await client.query<{ version: number }>(
            "select current_setting('server_version_num')::int as version",
          );
          version = rows[0]?.version ?? 0;
        }
        const result = await work(client, version);
        client.release();
        return result;
      } catch (error) {
        // A connection whose work failed half-way may be inside a transaction.
        client.release(true);
        throw error;
      }
    },
    close: () => pool.end(),
  };
}
