/**
 * Asks which run of which primary a connection leads to; fails on a standby. An address may lead to another server from one
 * connection to the next while a promotion goes on, and what one server says must not be believed of the other.
 */
export const SERVER_MARK = `select extract(epoch from pg_postmaster_start_time())::text || ' ' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) as mark`;

/** One row of {@link SERVER_MARK}. */
export interface MarkRow {
  readonly mark: string;
}

/** Throws unless an answer to {@link SERVER_MARK} is that of the server with this mark. */
export function expectServer(rows: readonly MarkRow[], mark: string): void {
  if (rows[0]?.mark !== mark) throw new Error('the address led to different servers from one connection to the next');
}
