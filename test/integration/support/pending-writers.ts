import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Stack } from '../../kit/index.ts';
import { appsOf } from './app.ts';
import { eventually } from './eventually.ts';
import { metric, write } from './write.ts';

/** A stack whose every flushed number stands in a log: once, in the order of the statements. */
export const loggedItems = {
  initSql: `
    create table items (id text primary key, n int not null, at_offset bigint not null);
    create table log (seq bigint generated always as identity, id text, n int, at_offset bigint, unique (id, at_offset));
    create function note() returns trigger language plpgsql as $$
      begin insert into log (id, n, at_offset) values (new.id, new.n, new.at_offset); return new; end $$;
    create trigger note after insert or update on items for each row execute function note()`,
  config: {
    namespaces: {
      items: {
        source: 'main',
        invalidate: [{ table: 'public.items', keys: ['{id}'] }],
        writeBehind: {
          put: {
            sql: `insert into items (id, n, at_offset) values ($1, $2::int, $3)
                  on conflict (id) do update set n = excluded.n, at_offset = excluded.at_offset`,
            params: ['{key}', '{body}', '{offset}'],
          },
        },
      },
    },
  },
};

export interface PendingWriterOptions {
  readonly stack: Stack;
  readonly namespace: string;
  readonly key: string;
  /** What the database says of the key: the number that was written last, 0 for none. Rejects while it is away. */
  readonly stored: () => Promise<number>;
}

/** How one read ended. */
export type Seen = 'pending' | 'cached' | 'loaded' | 'bypass' | 'failed';

/**
 * Writes ever higher numbers to a key of its own, through one sidecar after the other, and reads the key behind each write that was
 * acknowledged, as an application does: what is missing is loaded from the database and stored.
 */
export class PendingWriter {
  /** Highest number that was acknowledged, and that was tried. */
  acknowledged = 0;
  attempted = 0;
  acknowledgements = 0;
  refused = 0;
  unknown = 0;
  readonly seen: Record<Seen, number> = { pending: 0, cached: 0, loaded: 0, bypass: 0, failed: 0 };
  /** What was read although something newer had been acknowledged before. */
  readonly old: string[] = [];
  readonly #options: PendingWriterOptions;
  readonly #done: Promise<void>;
  #isStopped = false;

  constructor(options: PendingWriterOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  get key(): string {
    return this.#options.key;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    const { stack } = this.#options;
    for (let turn = 0; !this.#isStopped; turn++) {
      const sidecar = turn % stack.sidecars.length;
      // A server that is away refuses at once; thousands of attempts a second would only heat the machine.
      if (!(await this.#write(sidecar))) await pause(20);
      else if (turn % 3 === 0) await this.#read(sidecar);
    }
  }

  async #write(sidecar: number): Promise<boolean> {
    const { stack, namespace, key } = this.#options;
    const n = ++this.attempted;
    try {
      const { status, problem } = await write(stack.sidecars[sidecar]?.url ?? '', [namespace, key], String(n));
      if (status === 202) {
        this.acknowledged = n;
        this.acknowledgements += 1;
        return true;
      }
      if (problem === 'write-unknown') this.unknown += 1;
      else this.refused += 1;
    } catch {
      this.unknown += 1;
    }
    return false;
  }

  /** Through the sidecar that has just acknowledged a write. */
  async #read(sidecar: number): Promise<void> {
    const { stack, namespace, key, stored } = this.#options;
    const least = this.acknowledged;
    const app = appsOf(stack)[sidecar];
    try {
      const answer = await app?.get(namespace, key);
      if (answer === undefined) return;
      const { cacheStatus, status, body, lease } = answer;
      const kind: Seen = cacheStatus.includes('bypass')
        ? 'bypass'
        : status === 200
          ? cacheStatus.includes('pending')
            ? 'pending'
            : 'cached'
          : 'loaded';
      this.seen[kind] += 1;
      if (kind === 'bypass') return;
      const found = status === 200 ? Number(body) : await stored();
      if (found < least) this.old.push(`${key}: ${found} after ${least} (${cacheStatus})`);
      if (lease !== undefined) await app?.put(namespace, key, String(found), { lease });
    } catch {
      this.seen.failed += 1;
    }
  }
}

/**
 * Ends the writers, waits until nothing of theirs waits for the database, and fails if a write that was acknowledged was lost, repeated or
 * reordered, or if anybody read what was older. Of a stack with {@link loggedItems}.
 */
export async function judgePendingWriters(stack: Stack, writers: readonly PendingWriter[]): Promise<void> {
  await Promise.all(writers.map((writer) => writer.stop()));
  await eventually(
    async () => {
      for (const { admin } of stack.sidecars) {
        expect(await metric(admin, 'tidemark_write_behind_known')).toBe(1);
        expect(await metric(admin, 'tidemark_write_behind_pending')).toBe(0);
      }
      expect(await metric(stack.flusher.url, 'tidemark_flusher_depth')).toBe(0);
    },
    { withinMs: 120_000, everyMs: 100 },
  );
  for (const writer of writers) {
    const { key } = writer;
    const last = await storedNumber(stack, key);
    expect(last, `${key}: last number`).toBeGreaterThanOrEqual(writer.acknowledged);
    expect(last).toBeLessThanOrEqual(writer.attempted);
    expect(writer.old).toEqual([]);
    // A sidecar that was told of nothing may be behind, for as long as the stream is.
    for (const app of appsOf(stack))
      await eventually(async () =>
        expect(await app.read('items', key, async () => String(await storedNumber(stack, key)))).toBe(String(last)),
      );
  }
  const disorder = await stack.sql(
    'select * from (select id, n, at_offset, lag(n) over w as n0, lag(at_offset) over w as o0 from log window w as (partition by id order by seq)) x where n <= n0 or at_offset <= o0',
  );
  expect(disorder).toEqual([]);
}

/** The number that the database has for a key; 0 for none. */
export async function storedNumber(stack: Stack, key: string): Promise<number> {
  return (await stack.sql<{ n: number }>('select n from items where id = $1', [key]))[0]?.n ?? 0;
}
