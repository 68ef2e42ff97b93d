import type { CacheClient } from './cache-client.ts';
import type { SeenRow } from './checker.ts';
import type { Database } from './database.ts';
import type { Journal } from './journal.ts';
import { pick, type Random } from './random.ts';
import { describeWentBack, SessionView, type WentBack } from './session-view.ts';
import type { Thing } from './thing.ts';
import type { Workload } from './workload.ts';

interface Options {
  readonly pods: readonly [
    { readonly name: string; readonly cache: CacheClient },
    ...{ readonly name: string; readonly cache: CacheClient }[],
  ];
  readonly database: Database;
  readonly workload: Workload;
  readonly journal: Journal;
  readonly random: Random;
  /** Gets what a user saw that must not be. */
  readonly violated: (row: string, text: string) => void;
}

interface User {
  readonly name: string;
  view: SessionView;
  /** `Tidemark-Session` of the last answer. */
  token: string;
  /** Position of a write that no answer to this session has covered yet: its token does not know of it. */
  written: string | undefined;
}

const writesShare = 0.15;

/** Users who wander from sidecar to sidecar with the token of their session, read a few rows and change some of them. */
export class Users {
  /** Reads with a session, and writes whose reader demanded their position. */
  readonly totals = { sessionReads: 0, positionReads: 0 };
  readonly #options: Options;
  readonly #users: readonly User[];
  /** Grows when sessions end for everybody. */
  #generation = 0;
  #isQuiet = false;

  constructor(options: Options & { readonly count: number }) {
    this.#options = options;
    this.#users = Array.from({ length: options.count }, (_, index) => ({
      name: `user-${index}`,
      view: new SessionView(),
      token: 'new',
      written: undefined,
    }));
  }

  /**
   * From now on nobody does anything, and what is under way counts for nothing, until `resume`: a promotion may undo what
   * users have seen, which no session can hide.
   */
  pause(): void {
    this.#isQuiet = true;
    this.#generation += 1;
    for (const user of this.#users) {
      user.view = new SessionView();
      user.token = 'new';
      user.written = undefined;
    }
  }

  resume(): void {
    this.#isQuiet = false;
  }

  get works(): (() => Promise<void>)[] {
    return this.#users.map((user) => () => this.#act(user));
  }

  async #act(user: User): Promise<void> {
    if (this.#isQuiet) return;
    const { random, workload } = this.#options;
    const generation = this.#generation;
    try {
      const thing = workload.popularThing();
      if (random() < writesShare) await this.#write(user, generation);
      else await this.#read(user, thing, generation);
    } catch {
      // Postgres is away
    }
  }

  /** Changes an item and reads it through some sidecar: within the session, or with the position of the write alone. */
  async #write(user: User, generation: number): Promise<void> {
    const { database, workload, pods, random } = this.#options;
    const id = workload.popularItem();
    const written = await workload.commit(() => database.change([id]));
    if (written === undefined || generation !== this.#generation) return;
    if (random() < 0.5) {
      this.totals.positionReads += 1;
      const { name, cache } = pick(random, pods);
      const thing = workload.item(id);
      const cached = await cache.get(thing.namespace, thing.key, { 'tidemark-min-lsn': written.lsn });
      if (cached.kind !== 'hit' || generation !== this.#generation) return;
      const view = new SessionView();
      view.wrote(written.rows);
      const who = `${user.name}, who demanded ${written.lsn} of ${name},`;
      this.#judge(who, thing.rowsOf(cached.value), (rows) => view.shown(rows));
    } else {
      user.view.wrote(written.rows);
      user.written = written.lsn;
      await this.#read(user, workload.item(id), generation);
    }
  }

  async #read(user: User, thing: Thing, generation: number): Promise<void> {
    const { pods, random, database } = this.#options;
    const { name, cache } = pick(random, pods);
    this.totals.sessionReads += 1;
    const cached = await cache.get(thing.namespace, thing.key, {
      'tidemark-session': user.token,
      ...(user.written !== undefined && { 'tidemark-min-lsn': user.written }),
    });
    if (generation !== this.#generation) return;
    if (cached.kind !== 'unreachable' && cached.session !== undefined) {
      user.token = cached.session;
      user.written = undefined;
    }
    if (cached.kind === 'unpromised') {
      if (cached.isOld) this.#options.violated('', `${user.name} got an old value at ${name} in his session`);
      const who = `${user.name}, for whom ${name} loaded it,`;
      this.#judge(who, thing.rowsOf(cached.value), (rows) => user.view.loaded(rows));
      return;
    }
    if (cached.kind === 'hit') {
      this.#judge(`${user.name} at ${name}`, thing.rowsOf(cached.value), (rows) => user.view.shown(rows));
      return;
    }
    // A namespace that is not there now: of what is loaded without it, the session does not hear.
    if (cached.kind === 'miss' && cached.session === undefined) return;
    const value = await thing.load();
    const loadedAt = random() < 0.5 ? await database.position() : undefined;
    if (generation !== this.#generation) return;
    this.#judge(`${user.name}, who loaded it himself,`, thing.rowsOf(value), (rows) => user.view.loaded(rows));
    if (cached.kind === 'unreachable' || cached.lease === undefined) return;
    const fill = { value, lease: cached.lease, tags: thing.tags() };
    const headers = {
      'tidemark-session': user.token,
      ...(loadedAt !== undefined && { 'tidemark-loaded-at': loadedAt }),
    };
    const session = await cache.put(thing.namespace, thing.key, fill, headers);
    if (generation === this.#generation) user.token = session ?? user.token;
  }

  #judge(who: string, rows: readonly SeenRow[], goesBack: (rows: readonly SeenRow[]) => WentBack | undefined): void {
    const { journal, violated } = this.#options;
    for (const { row, version, isOfStandby = false } of rows)
      journal.note(row, performance.now(), `${who} saw version ${version}${isOfStandby ? ' of a standby' : ''}`);
    const back = goesBack(rows);
    if (back !== undefined) violated(back.row, `${who} ${describeWentBack(back)}`);
  }
}
