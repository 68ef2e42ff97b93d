import pg from 'pg';
import type { SeenRow, Written } from './checker.ts';
import { type Statement, transaction } from './transaction.ts';
import { padding } from './world.ts';

/** What a value shows of an item or a document. */
export interface Row {
  readonly id: number;
  readonly version: number;
  readonly timeline: number;
}

const loadTimeoutMs = 3_000;
/** Longer than most faults: a commit that hangs is acknowledged in the end. */
const writeTimeoutMs = 15_000;

const changed = (table: string): string => `returning '${table}/' || id as row, version, timeline`;
const raised = 'version = version + 1, timeline = timeline()';

/** The application's side of Postgres. Everything rejects while it is away. */
export class Database {
  readonly #loads: pg.Pool;
  readonly #writes: pg.Pool;

  constructor(url: string) {
    const pool = (queryTimeoutMs: number): pg.Pool => {
      const made = new pg.Pool({
        connectionString: url,
        max: 24,
        connectionTimeoutMillis: 2_000,
        query_timeout: queryTimeoutMs,
      });
      return made.on('error', () => undefined); // an idle connection that ends is replaced by the next query
    };
    this.#loads = pool(loadTimeoutMs);
    this.#writes = pool(writeTimeoutMs);
  }

  async item(id: number): Promise<(Row & { readonly padding: string }) | undefined> {
    const [row] = await this.#load('select id, version, timeline from items where id = $1', id);
    return row && { ...row, padding };
  }

  async shelf(shelf: number): Promise<readonly Row[]> {
    return this.#load('select id, version, timeline from items where shelf = $1 order by id', shelf);
  }

  async doc(id: number): Promise<Row | undefined> {
    const [row] = await this.#load('select id, version, timeline from docs where id = $1', id);
    return row;
  }

  /** Every row, by its name. */
  async all(): Promise<Map<string, SeenRow>> {
    const sql = `select 'items/' || id as row, version, timeline from items
                 union all select 'docs/' || id, version, timeline from docs`;
    const { rows } = await this.#loads.query<SeenRow>(sql);
    return new Map(rows.map((row) => [row.row, row]));
  }

  /** At or after everything that was visible to anybody when this was asked. */
  async position(): Promise<string | undefined> {
    return (await this.#loads.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn')).rows[0]?.lsn;
  }

  async timeline(): Promise<number> {
    return (await this.#loads.query<{ timeline: number }>('select timeline()')).rows[0]?.timeline ?? 0;
  }

  change(ids: readonly number[]): Promise<Written> {
    return this.#write(ids.map((id) => [`update items set ${raised} where id = $1 ${changed('items')}`, id]));
  }

  move(id: number, shelf: number): Promise<Written> {
    return this.#write([[`update items set shelf = $2, ${raised} where id = $1 ${changed('items')}`, id, shelf]]);
  }

  /** Changes a document, of which no rule hears. */
  edit(id: number): Promise<Written> {
    return this.#write([[`update docs set ${raised} where id = $1 ${changed('docs')}`, id]]);
  }

  /** Changes a document and purges it in the same transaction. */
  async editAndPurge(id: number): Promise<Written> {
    const purge = JSON.stringify({ purge: [{ namespace: 'doc', keys: [`${id}`] }] });
    const written = await this.#write([
      [`update docs set ${raised} where id = $1 ${changed('docs')}`, id],
      [`select pg_logical_emit_message(true, 'tidemark', $1)`, purge],
    ]);
    return { ...written, promise: 'purge' };
  }

  async close(): Promise<void> {
    await Promise.all([this.#loads.end(), this.#writes.end()]);
  }

  async #load(sql: string, id: number): Promise<readonly Row[]> {
    return (await this.#loads.query<Row>(sql, [id])).rows;
  }

  async #write(statements: readonly Statement[]): Promise<Written> {
    const { rows, lsn } = await transaction<SeenRow & pg.QueryResultRow>(this.#writes, statements);
    // A message returns its position, no row.
    return { lsn, rows: rows.filter(({ row }) => row !== undefined) };
  }
}
