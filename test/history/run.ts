import type { Progress } from '../kit/index.ts';
import { Availability } from './availability.ts';
import { CacheClient } from './cache-client.ts';
import { Checker, describeStaleRead } from './checker.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { Database } from './database.ts';
import { Epochs } from './epochs.ts';
import { Exits } from './exits.ts';
import type { FaultKind } from './faults/fault.ts';
import { Journal } from './journal.ts';
import { unleash } from './nemesis.ts';
import { observe } from './observer.ts';
import { pace } from './pace.ts';
import { promoted } from './promotion.ts';
import { seededRandom } from './random.ts';
import { recovered, refreshed } from './recovery.ts';
import { type Report, Samples, Tally } from './report.ts';
import { round, schedule, type Step } from './schedule.ts';
import { Users } from './users.ts';
import { type Pod, Workload } from './workload.ts';
import { configOf } from './world.ts';

export interface HistoryOptions {
  readonly seed: number;
  /** How long faults are caused; undefined: until every kind was caused once. */
  readonly minutes: number | undefined;
  readonly kinds: readonly FaultKind[];
  /** Faults last less than half as long, and two come together where they can. */
  readonly hurry: boolean;
  readonly wrongRule: boolean;
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
  readonly progress: Progress;
  /** Gets what is going on, with the seconds since the start. */
  readonly say: (text: string) => void;
  /** Gets each log line of our processes. */
  readonly onLine: (name: string, line: string) => void;
}

const readersPerPod = 10;
const writers = 6;
const users = 9;
/** What a user does a second. */
const actsOfUser = 5;
const lookMs = 250;
const sayMs = 5_000;
// Last bounds, for machines that are busy: what does not come by then does not come.
const recoverWithinMs = 180_000;
const refreshWithinMs = 180_000;

/** Starts everything, lets a nemesis loose on it, and tells what came of it. Rejects where that itself does not work. */
export async function runHistory(options: HistoryOptions, asked: Promise<unknown>): Promise<Report> {
  const exits = new Exits();
  const cluster = await startCluster({
    config: configOf(options),
    progress: options.progress,
    onEvent: (event) => exits.event(event),
    onLine: (name, line) => {
      exits.line(name, line);
      options.onLine(name, line);
    },
  });
  try {
    return await new Run(options, cluster, exits).until(asked);
  } finally {
    await cluster.stop();
  }
}

class Run {
  readonly #options: HistoryOptions;
  readonly #cluster: Cluster;
  readonly #exits: Exits;
  readonly #startMs = performance.now();
  readonly #end = new AbortController();
  readonly #checker = new Checker();
  readonly #epochs = new Epochs();
  readonly #documents = new Set<string>();
  readonly #availability = new Availability();
  readonly #journal = new Journal(this.#startMs);
  readonly #faults = new Tally();
  readonly #recoveries = new Samples();
  readonly #violations: string[] = [];
  readonly #database: Database;
  readonly #pods: readonly [Pod, ...Pod[]];
  readonly #podsOfUsers: readonly [Pod, ...Pod[]];
  readonly #workload: Workload;
  readonly #users: Users;

  constructor(options: HistoryOptions, cluster: Cluster, exits: Exits) {
    this.#options = options;
    this.#cluster = cluster;
    this.#exits = exits;
    this.#database = new Database({
      url: cluster.stack.postgres,
      standbyUrl: () => cluster.postgres.standby?.url,
    });
    const pods = (): [Pod, ...Pod[]] =>
      cluster.stack.sidecars.map(({ name, url }) => ({ name, cache: new CacheClient(url) })) as [Pod, ...Pod[]];
    this.#pods = pods();
    this.#podsOfUsers = pods(); // a read that waits for its position leaves nobody else out
    this.#workload = new Workload({
      pods: this.#pods,
      database: this.#database,
      checker: this.#checker,
      epochs: this.#epochs,
      availability: this.#availability,
      journal: this.#journal,
      random: seededRandom(options.seed),
      tagsItems: () => cluster.configuration.tagsItems,
    });
    this.#users = new Users({
      count: users,
      pods: this.#podsOfUsers,
      database: this.#database,
      workload: this.#workload,
      journal: this.#journal,
      random: seededRandom(options.seed),
      violated: (row, text) => this.#violated(row, text),
    });
  }

  async until(asked: Promise<unknown>): Promise<Report> {
    void asked.then(() => this.#end.abort());
    const { signal } = this.#end;
    const observing = new AbortController();
    const observer = observe(
      this.#cluster.stack,
      { epochs: this.#epochs, documents: this.#documents },
      observing.signal,
    );
    const timers = [setInterval(() => this.#look(), lookMs), setInterval(() => this.#say(this.#progress()), sayMs)];
    try {
      const load = new AbortController();
      const loops = Promise.all(this.#load(AbortSignal.any([load.signal, signal])));
      await this.#must(() => this.#nemesis());
      load.abort();
      await loops;
      await this.#workload.drain();
      if (!signal.aborted) await this.#must(() => refreshed(this.#parts, refreshWithinMs));
      const seconds = (performance.now() - this.#startMs) / 1000;
      observing.abort();
      await observer;
      return this.#report(seconds);
    } finally {
      observing.abort();
      this.#end.abort();
      this.#exits.isOver = true;
      for (const timer of timers) clearInterval(timer);
      for (const { cache } of [...this.#pods, ...this.#podsOfUsers]) cache.close();
      await this.#database.close();
    }
  }

  get #parts() {
    const { signal } = this.#end;
    return { pods: this.#pods, database: this.#database, workload: this.#workload, signal };
  }

  #load(signal: AbortSignal): Promise<void>[] {
    const { readsPerSecond, writesPerSecond } = this.#options;
    const many = (loops: number, perSecond: number, work: () => Promise<void>): Promise<void>[] =>
      Array.from({ length: loops }, () => pace(perSecond / loops, signal, work));
    return [
      ...this.#pods.flatMap((pod) =>
        many(readersPerPod, readsPerSecond / this.#pods.length, () => this.#workload.read(pod)),
      ),
      ...many(writers, writesPerSecond, () => this.#workload.write()),
      ...this.#users.works.map((work) => pace(actsOfUser, signal, work)),
    ];
  }

  async #nemesis(): Promise<void> {
    const { signal } = this.#end;
    const works = async (): Promise<void> => {
      await Promise.all([recovered(this.#parts, recoverWithinMs), this.#cluster.configuration.served()]);
      this.#users.resume();
    };
    await works();
    await unleash(this.#steps(), {
      cluster: this.#cluster,
      say: (text) => {
        this.#say(text);
        this.#journal.note('', performance.now(), text);
      },
      events: {
        ending: (name) => this.#exits.ending(name),
        promotion: async (promote) => {
          this.#exits.ending('postgres');
          this.#users.pause();
          // What is served from now on may show the new primary already, so it is judged when it is known what came over.
          const ticket = this.#checker.beginWrite();
          try {
            await promote();
            this.#checker.promoted(await promoted(this.#cluster.postgres.url, this.#database));
          } finally {
            this.#checker.endWrite(ticket, performance.now());
          }
        },
      },
      recovered: works,
      healed: (kind, seconds) => this.#recoveries.add(kind, seconds),
      signal,
    });
  }

  *#steps(): Generator<Step> {
    const { minutes, kinds, seed, hurry } = this.#options;
    const how = { kinds, random: seededRandom(seed), ...(hurry && { together: 1, scale: 0.4 }) };
    const startMs = performance.now();
    const isOver = (): boolean => minutes !== undefined && performance.now() - startMs > minutes * 60_000;
    for (const step of minutes === undefined ? round(how) : schedule(how)) {
      if (isOver()) return;
      for (const { kind } of step.faults) this.#faults.add(kind.name);
      yield step;
    }
  }

  /** Notes what went wrong. */
  async #must(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#violations.push(`violation: ${(error as Error).message}`);
    }
  }

  #look(): void {
    const [offence] = this.#checker.offences;
    if (offence !== undefined) this.#violated(offence.row, describeStaleRead(offence));
  }

  /** The first value that is wrong ends the run: what led to it is still at hand. */
  #violated(row: string, text: string): void {
    if (this.#end.signal.aborted) return;
    const history = this.#journal.about(row).map((line) => `  ${line}`);
    this.#violations.push([`violation: ${text}`, ...history].join('\n'));
    this.#end.abort();
  }

  #say(text: string): void {
    const seconds = ((performance.now() - this.#startMs) / 1000).toFixed(1).padStart(7);
    this.#options.say(`${seconds} s  ${text}`);
  }

  #progress(): string {
    const { l1, l2, misses, writes, purges } = this.#workload.totals;
    return `${l1 + l2 + misses} reads, ${writes + purges} writes, ${this.#checker.checked} values checked, stale = ${this.#checker.stale}`;
  }

  #report(seconds: number): Report {
    this.#epochs.finish();
    this.#checker.finish();
    this.#look();
    for (const exit of this.#exits.ours) this.#violations.push(`violation: ${exit}`);
    const { totals } = this.#workload;
    const { checked, stale } = this.#checker;
    const unchecked = totals.l1 + totals.l2 - checked;
    const documents = new Set([...this.#documents, ...this.#cluster.configuration.seen]).size;
    return {
      seed: this.#options.seed,
      seconds,
      operations: { ...totals, ...this.#users.totals, checked, unchecked, documents },
      faults: this.#faults.counts,
      stale,
      unavailableSeconds: this.#availability.unavailableSeconds,
      recoverSeconds: this.#recoveries.summary,
      violations: this.#violations,
    };
  }
}
