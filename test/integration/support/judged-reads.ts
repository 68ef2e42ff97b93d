import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Stack } from '../../kit/index.ts';
import type { App } from './app.ts';

const PAUSE_MS = 5;
const READERS = 8;

/** What came of reads that were compared with what had been committed. */
export interface Judged {
  /** Reads that named a commit and were answered. */
  readonly reads: number;
  /** Those of them that the cache answered without a load. */
  readonly hits: number;
  readonly commits: number;
  /** Answers that said that there was no value to be had. */
  readonly failed: number;
}

/**
 * A writer counts up `n` of rows `1` to `keys` of the table `counters (id int, n int)`, one commit after the other, while readers read
 * them from a namespace whose values have it, and name the commit that they know of (`Tidemark-Min-Lsn`). No answer may be older. What a
 * session was shown must never go back either. Ends once so many reads were judged.
 */
export async function judgeReads(
  stack: Stack,
  apps: readonly App[],
  options: { namespace: string; keys: number; reads: number; withinMs?: number },
): Promise<Judged> {
  const { namespace, keys, reads, withinMs = 240_000 } = options;
  const known = new Map<number, { n: number; lsn: string }>();
  const judged = { reads: 0, hits: 0, commits: 0, failed: 0 };
  const until = Date.now() + withinMs;
  const goesOn = (): boolean => judged.reads < reads && Date.now() < until;
  const write = async (): Promise<void> => {
    while (goesOn()) {
      const id = 1 + (judged.commits % keys);
      const [row] = await stack.sql<{ n: number }>('update counters set n = n + 1 where id = $1 returning n', [id]);
      // After the commit: at or after its position (see "a writer's own LSN" in the README).
      const [at] = await stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
      known.set(id, { n: row?.n ?? 0, lsn: at?.lsn ?? '' });
      judged.commits += 1;
      await wait(PAUSE_MS);
    }
  };
  const read = async (app: App, seed: number): Promise<void> => {
    let session: string | undefined;
    const shown = new Map<number, number>();
    for (let i = seed; goesOn(); i += 1) {
      const id = 1 + ((i * 7) % keys);
      const commit = known.get(id);
      const isSession = i % 3 === 0;
      const headers = {
        ...(commit && !isSession && { 'tidemark-min-lsn': commit.lsn }),
        ...(isSession && { 'tidemark-session': session ?? '' }),
      };
      const answer = await app.get(namespace, String(id), headers);
      if (isSession) session = answer.session ?? session;
      if (answer.status !== 200) {
        judged.failed += 1;
        await wait(5);
        continue;
      }
      const { n } = JSON.parse(answer.body) as { n: number };
      if (commit !== undefined && !isSession) {
        expect(n, `key ${id} after ${commit.lsn}: ${answer.cacheStatus}`).toBeGreaterThanOrEqual(commit.n);
        judged.reads += 1;
        if (answer.cacheStatus.includes('hit')) judged.hits += 1;
      }
      if (!isSession) continue;
      expect(n, `key ${id} in a session: ${answer.cacheStatus}`).toBeGreaterThanOrEqual(shown.get(id) ?? 0);
      shown.set(id, n);
    }
  };
  await Promise.all([
    write(),
    ...apps.flatMap((app, i) => Array.from({ length: READERS }, (_, reader) => read(app, i + reader))),
  ]);
  return judged;
}
