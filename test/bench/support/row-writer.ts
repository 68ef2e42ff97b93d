import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';

/** Runs a statement at a steady rate on connections of its own. Answers how often it ran. */
export async function writeSteadily(options: {
  readonly postgres: string;
  readonly perSecond: number;
  readonly seconds: number;
  readonly clients: number;
  /** @param turn a number that spreads what is written */
  readonly write: (connection: pg.Client, turn: number) => Promise<unknown>;
}): Promise<number> {
  const { postgres, perSecond, seconds, clients, write } = options;
  const work = async (client: number): Promise<number> => {
    const connection = new pg.Client({ connectionString: postgres });
    await connection.connect();
    const startMs = performance.now();
    let count = 0;
    for (; performance.now() - startMs < seconds * 1000; count++) {
      const aheadMs = startMs + (count * 1000 * clients) / perSecond - performance.now();
      if (aheadMs > 0) await wait(aheadMs);
      await write(connection, client * 97 + count);
    }
    await connection.end();
    return count;
  };
  const counts = await Promise.all(Array.from({ length: clients }, (_, client) => work(client)));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Writes to a table `users (id, n)` at a steady rate, in transactions of `rows` rows. Answers how many rows there were. */
export async function writeRows(options: {
  readonly postgres: string;
  readonly perSecond: number;
  readonly seconds: number;
  /** Rows in one transaction (default 1). */
  readonly rows?: number;
}): Promise<number> {
  const { perSecond, rows = 1 } = options;
  const transactions = await writeSteadily({
    ...options,
    clients: Math.min(8, Math.max(1, Math.round(perSecond / 50))),
    write: (connection, turn) => {
      const from = (turn * rows) % 900;
      return connection.query('update users set n = n + 1 where id between $1 and $2', [from + 1, from + rows]);
    },
  });
  return transactions * rows;
}

/** The table, with rows enough, and the rule for it. */
export const rowsSql = `
  create table users (id int primary key, n int not null);
  insert into users select n, 0 from generate_series(1, 1000) n;
`;
export const rowsRule = { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] };
