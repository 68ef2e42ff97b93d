import pg from 'pg';
import { setTimeout as wait } from 'node:timers/promises';

/** Clients that insert rows with ids of their own, one a transaction, and keep at it while the server comes and goes. */
export class Writers {
  static #next = 1;
  /** All ids lie between these. */
  readonly first: number;
  /** Ids whose commit was acknowledged. Others may have been committed too. */
  readonly acknowledged: number[] = [];
  readonly #done: Promise<unknown>;
  #stopping = false;
  #id: number;

  constructor(options: {
    readonly url: string;
    readonly table: string;
    readonly clients: number;
    readonly perSecond: number;
  }) {
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

  async #write({
    url,
    table,
    clients,
    perSecond,
  }: {
    url: string;
    table: string;
    clients: number;
    perSecond: number;
  }): Promise<void> {
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
          await client.query(`insert into ${table} (id) values ($1)`, [id]);
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
