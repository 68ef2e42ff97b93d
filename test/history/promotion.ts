import { withPostgres } from '../kit/names.ts';
import type { Promotion } from './checker.ts';
import type { Database } from './database.ts';

/** What a promotion that has just been did to the history, as the new primary tells it. */
export async function promoted(url: string, database: Database): Promise<Promotion> {
  const [timeline, switchLsn] = await withPostgres(url, async (client) => {
    const { rows } = await client.query<{ timeline: number }>('select timeline()');
    const now = rows[0]?.timeline ?? 0;
    const file = `pg_wal/${now.toString(16).toUpperCase().padStart(8, '0')}.history`;
    const history = await client.query<{ text: string }>('select pg_read_file($1) as text', [file]);
    // A line for each switch: the timeline that ended, where, and why.
    const last = history.rows[0]?.text.trim().split('\n').at(-1)?.split('\t');
    return [now, last?.[1] ?? ''] as const;
  });
  const rows = await database.all();
  const survivors = [...rows].map(([name, { version, timeline: at = 1 }]): [string, number] => [
    name,
    // Somebody has been here already: at least one version is of the new timeline.
    at < timeline ? version : version - 1,
  ]);
  return { timeline, switchLsn, survivors: new Map(survivors) };
}
