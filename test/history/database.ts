import pg from 'pg';
import { withPostgres } from '../kit/names.ts';
import type { SeenRow, Written } from './checker.ts';
import { type Statement, transaction } from './transaction.ts';
import { padding } from './world.ts';

/** What a value shows of an item or a document. */
export interface Row {
  readonly id: number;
  readonly version: number;
  readonly timeline: number;
  /** Whoever loads from a standby says so in the value. */
  readonly isOfStandby?: boolean;
}

type Item = Row & { readonly padding: string };

const itemSql = 'select id, version, timeline from items where id = $1';

const loadTimeoutMs = 3_000;
/** Longer than most faults: a commit that hangs is acknowledged in the end. */
const writeTimeoutMs = 15_000;

const changed = (table: string): string => `returning '${table}/' || id as row, version, timeline`;
const raised = 'version = version + 1, timeline = timeline()';

function poolOf(url: string, queryTimeoutMs: number): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max: 24,
    connectionTimeoutMillis: 2_000,
    query_timeout: queryTimeoutMs,
  });
  // A connection that ends is replaced by the next query; the query that was under way fails by itself.
  pool.on('error', () => undefined);
  return pool.on('connect', (client) => client.on('error', () => undefined));
}

/** The application's side of Postgres. Everything rejects while it is away. */
export class Database {
  readonly #url: string;
  readonly #loads: pg.Pool;
  readonly #writes: pg.Pool;
  readonly #standbyUrl: () => string | undefined;
  #standby: { readonly url: string; readonly pool: pg.Pool } | undefined;

  /** @param options.standbyUrl of whoever is the standby now, if there is one */
  constructor(options: { readonly url: string; readonly standbyUrl: () => string | undefined }) {
    this.#url = options.url;
    this.#loads = poolOf(options.url, loadTimeoutMs);
    this.#writes = poolOf(options.url, writeTimeoutMs);
    this.#standbyUrl = options.standbyUrl;
  }

  async item(id: number): Promise<Item | undefined> {
    const [row] = await this.#load(itemSql, id);
    return row && { ...row, padding };
  }

  /** As the standby has it, which is older, and how far the standby was before. Undefined where there is no standby. */
  async itemOfStandby(
    id: number,
  ): Promise<{ readonly item: Item | undefined; readonly sourceLsn: string } | undefined> {
    const pool = this.#standbyPool();
    if (pool === undefined) return undefined;
    const client = await pool.connect();
    try {
      // In a statement of its own, before: in the same one it may be newer than what is read.
      const replayed = await client.query<{ lsn: string | null }>('select pg_last_wal_replay_lsn() as lsn');
      const { rows } = await client.query<Row>(itemSql, [id]);
      client.release();
      const sourceLsn = replayed.rows[0]?.lsn;
      return sourceLsn ? { item: rows[0] && { ...rows[0], padding, isOfStandby: true }, sourceLsn } : undefined;
    } catch (error) {
      client.release(true);
      throw error;
    }
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
    // Nobody waits for it as for an application's read: it has the time that it takes.
    const { rows } = await withPostgres(this.#url, (client) => client.query<SeenRow>(sql));
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

  /** Adds an item; rejects where it is there already. */
  launch(id: number, shelf: number): Promise<Written> {
    return this.#write([[`insert into items values ($1, $2, 1, timeline()) ${changed('items')}`, id, shelf]]);
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
    await Promise.all([this.#loads.end(), this.#writes.end(), this.#standby?.pool.end()]);
  }

  #standbyPool(): pg.Pool | undefined {
    const url = this.#standbyUrl();
    if (url === this.#standby?.url) return this.#standby?.pool;
    void this.#standby?.pool.end();
    this.#standby = url === undefined ? undefined : { url, pool: poolOf(url, loadTimeoutMs) };
    return this.#standby?.pool;
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
