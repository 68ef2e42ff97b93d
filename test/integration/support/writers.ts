import pg from 'pg';
import type { Stack } from '../../kit/index.ts';
import type { Feed } from './feed.ts';
import { setTimeout as wait } from 'node:timers/promises';

/** Clients that insert rows into `items` with ids of their own, one a transaction, and keep at it while the server comes and goes. */
export class Writers {
  static #next = 1;
  /** All ids lie between these. */
  readonly first: number;
  /** Ids whose commit was acknowledged. Others may have been committed too. */
  readonly acknowledged: number[] = [];
  readonly #done: Promise<unknown>;
  #stopping = false;
  #id: number;

  constructor(options: { readonly url: string; readonly clients: number; readonly perSecond: number }) {
    this.first = Writers.#next;
    Writers.#next += 1_000_000;
    this.#id = this.first;
    this.#done = Promise.all(Array.from({ length: options.clients }, () => this.#write(options)));
  }

  get last(): number {
    return this.#id;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#done;
  }

  /** Fails unless every id that was committed was published, in whichever records. */
  async expectPublished(options: {
    readonly stack: Stack;
    readonly feed: Feed;
    readonly withinMs?: number;
  }): Promise<void> {
    const { stack, feed, withinMs = 60_000 } = options;
    await feed.catchesUp(stack, withinMs);
    const published = new Set(feed.changes().map(({ after }) => after?.['id']));
    const rows = await stack.sql<{ id: string }>('select id from items where id between $1 and $2', [
      this.first,
      this.last,
    ]);
    if (rows.length < this.acknowledged.length)
      throw new Error(`${rows.length} rows of ${this.acknowledged.length} that were acknowledged`);
    const missing = rows.filter(({ id }) => !published.has(id)).map(({ id }) => id);
    if (missing.length > 0)
      throw new Error(`${missing.length} committed rows were never published: ${missing.slice(0, 10).join(', ')}`);
  }

  async #write({ url, clients, perSecond }: { url: string; clients: number; perSecond: number }): Promise<void> {
    const intervalMs = (1000 * clients) / perSecond;
    while (!this.#stopping) {
      const client = new pg.Client({ connectionString: url });
      client.on('error', () => undefined); // the next query fails
      try {
        await client.connect();
        for (let dueMs = performance.now(); !this.#stopping; dueMs += intervalMs) {
          const aheadMs = dueMs - performance.now();
          if (aheadMs > 0) await wait(aheadMs);
          const id = this.#id++;
          await client.query(`insert into items (id) values ($1)`, [id]);
          this.acknowledged.push(id);
        }
      } catch {
        await wait(50);
      } finally {
        await client.end().catch(() => undefined);
      }
    }
  }
}
