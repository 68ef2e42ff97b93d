import { Client } from 'pg';
import { quoteIdentifier } from '../core/catalog.ts';
import { noDatabase, OperatorError } from '../core/errors.ts';

/** The table of the self-test: one row a run. */
export interface SelftestTable {
  insert(id: string, value: string): Promise<void>;
  update(id: string, value: string): Promise<void>;
  /** Undefined where there is no such row. */
  load(id: string): Promise<string | undefined>;
  remove(id: string): Promise<void>;
  close(): Promise<void>;
}

const CONNECT_MS = 10_000;
const QUERY_MS = 10_000;
const INSUFFICIENT_PRIVILEGE = '42501';

/** Connects, and makes the table if it is missing. Throws {@link OperatorError} where the role may not. */
export async function openSelftestTable(options: {
  readonly url: string;
  readonly schema: string;
  readonly table: string;
}): Promise<SelftestTable> {
  const client = new Client({
    connectionString: options.url,
    application_name: 'tidemark selftest',
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: QUERY_MS,
  });
  client.on('error', () => undefined); // the next query fails
  try {
    await client.connect();
  } catch (error) {
    throw noDatabase(error);
  }
  const table = `${quoteIdentifier(options.schema)}.${quoteIdentifier(options.table)}`;
  const create = `CREATE TABLE ${table} (id text PRIMARY KEY, value text NOT NULL)`;
  try {
    // "if not exists" asks for the right to create also where the table exists.
    const { rows } = await client.query<{ found: string | null }>('select to_regclass($1) as found', [table]);
    if (rows[0]?.found === null) await client.query(create);
  } catch (error) {
    await client.end();
    const { code, message } = error as Error & { code?: string };
    if (code !== INSUFFICIENT_PRIVILEGE) throw error;
    throw new OperatorError(`role ${client.user} may not make the table of the self-test (${message})`, [
      `${create};`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO ${quoteIdentifier(client.user ?? '')};`,
    ]);
  }
  return {
    insert: async (id, value) =>
      void (await client.query(`insert into ${table} (id, value) values ($1, $2)`, [id, value])),
    update: async (id, value) => void (await client.query(`update ${table} set value = $2 where id = $1`, [id, value])),
    load: async (id) =>
      (await client.query<{ value: string }>(`select value from ${table} where id = $1`, [id])).rows[0]?.value,
    remove: async (id) => void (await client.query(`delete from ${table} where id = $1`, [id])),
    close: () => client.end(),
  };
}
