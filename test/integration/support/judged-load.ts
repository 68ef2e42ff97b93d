import { setTimeout as pause } from 'node:timers/promises';
import { Checker, describeStaleRead } from '../../history/checker.ts';
import type { Stack } from '../../kit/index.ts';
import { type App, appsOf } from './app.ts';
import { eventually } from './eventually.ts';

/** The table and the namespaces that the load needs: values by key and by tag. */
export const judgedRows = 40;
export const judgedSql = `
  create table items (id int primary key, version int not null);
  insert into items select n, 1 from generate_series(1, ${judgedRows}) n;
`;
export const judgedNamespaces = {
  items: { source: 'main', invalidate: [{ table: 'public.items', keys: ['{id}'] }] },
  lists: { source: 'main', invalidate: [{ table: 'public.items', tags: ['item:{id}'] }] },
};

/** The last bound of what takes a second on a machine that has nothing else to do. */
const WITHIN_MS = 180_000;
const FEWEST = 200;

/** A writer that changes rows and readers on every sidecar that fill what they miss, all judged against what was committed. */
export class JudgedLoad {
  readonly answers = { l1: 0, l2: 0, misses: 0 };
  readonly #checker = new Checker();
  readonly #stop = new AbortController();
  readonly #stack: Stack;
  readonly #work: Promise<unknown>;
  #hasFailed = false;

  /** @param apps in front of the sidecars that are read from; all of the stack unless told */
  constructor(stack: Stack, apps: readonly App[] = appsOf(stack)) {
    this.#stack = stack;
    const readers = apps.flatMap((app, i) => [1, 2].map((n) => this.#read(app, `sidecar-${i}`, 7 * n + i)));
    this.#work = Promise.all([this.#write(), ...readers]);
    this.#work.catch(() => (this.#hasFailed = true)); // told by `judge`
  }

  /** Settles once so many more values came from what sidecars share. */
  async goesOn(): Promise<void> {
    const { l2 } = this.answers;
    const enough = (): void => {
      if (this.answers.l2 <= l2 + 30)
        throw new Error(`${this.answers.l2 - l2} values were shared, expected more than 30`);
    };
    await eventually(enough, { withinMs: WITHIN_MS });
  }

  /** Ends it, and fails if anybody was served what was older than the position it was served under. */
  async judge(): Promise<void> {
    const enough = (): void => {
      const served = this.answers.l1 + this.answers.l2;
      if (served < FEWEST && !this.#hasFailed)
        throw new Error(`${served} values were served, expected ${FEWEST}: too few to prove anything`);
    };
    await eventually(enough, { withinMs: WITHIN_MS }).finally(() => this.#stop.abort());
    await this.#work;
    this.#checker.finish();
    process.stderr.write(`${JSON.stringify({ ...this.answers, checked: this.#checker.checked })}\n`);
    const { offences, checked } = this.#checker;
    if (offences.length > 0) throw new Error(offences.map(describeStaleRead).join('\n'));
    if (checked < FEWEST)
      throw new Error(`${checked} values were judged, expected ${FEWEST}: too few to prove anything`);
  }

  async #write(): Promise<void> {
    const versions = new Map<number, number>();
    for (let i = 0; !this.#stop.signal.aborted; i++) {
      const id = 1 + (i % judgedRows);
      const ticket = this.#checker.beginWrite();
      const version = (versions.get(id) ?? Number(await this.#versionOf(id))) + 1;
      await this.#stack.sql('update items set version = $2 where id = $1', [id, version]);
      const [row] = await this.#stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
      versions.set(id, version);
      this.#checker.endWrite(ticket, performance.now(), { lsn: row?.lsn ?? '', rows: [{ row: `${id}`, version }] });
      await pause(2);
    }
  }

  async #read(app: App, sidecar: string, from: number): Promise<void> {
    for (let i = from; !this.#stop.signal.aborted; i++) {
      const id = 1 + ((i * 7) % judgedRows);
      const [namespace, tags] = i % 2 === 0 ? ['items', []] : ['lists', [`item:${id}`]];
      const found = await app.get(namespace, `${id}`);
      if (found.status === 200) {
        this.answers[found.cacheStatus.includes('detail=l2') ? 'l2' : 'l1'] += 1;
        const rows = [{ row: `${id}`, version: Number(found.body) }];
        this.#checker.served({ sidecar, key: `${namespace}/${id}`, lsn: found.lsn ?? '', rows });
      } else if (found.lease !== undefined) {
        this.answers.misses += 1;
        await app.put(namespace, `${id}`, await this.#versionOf(id), { lease: found.lease, tags });
      }
    }
  }

  async #versionOf(id: number): Promise<string> {
    const [row] = await this.#stack.sql<{ version: number }>('select version from items where id = $1', [id]);
    return `${row?.version}`;
  }
}
