import type pg from 'pg';

export type Statement = readonly [sql: string, ...values: unknown[]];

/** A committed transaction. */
export interface Committed<Row> {
  /** What its statements returned. */
  readonly rows: readonly Row[];
  /** When the commit was acknowledged, by `performance.now`. */
  readonly committedAtMs: number;
  /** At or after the commit's position. */
  readonly lsn: string;
}

/** Runs statements in one transaction and learns its position. Rejects where it is not known whether it was committed, too. */
export async function transaction<Row extends pg.QueryResultRow>(
  pool: pg.Pool,
  statements: readonly Statement[],
): Promise<Committed<Row>> {
  const client = await pool.connect();
  // A connection that ends between two statements says so by an event, which would end this process; the next one fails.
  const ignore = (): void => undefined;
  client.on('error', ignore);
  try {
    await client.query('begin');
    const rows: Row[] = [];
    for (const [sql, ...values] of statements) rows.push(...(await client.query<Row>(sql, values)).rows);
    await client.query('commit');
    const committedAtMs = performance.now();
    // Only a position that is asked for after the commit is certain to cover it.
    const position = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn');
    client.off('error', ignore);
    client.release();
    return { rows, committedAtMs, lsn: position.rows[0]?.lsn ?? '' };
  } catch (error) {
    client.release(true); // it may still be inside the failed transaction
    throw error;
  }
}
