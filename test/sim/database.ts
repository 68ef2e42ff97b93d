import { encodeBatch, Op, TableChangesBuilder, type Batch } from '@tidemark/proto';
import type { Dice } from '../../sidecar/src/testing/random.ts';

/** The newest version of a row is the number of its last change. */
interface Commit {
  readonly lsn: number;
  readonly row: string;
  readonly version: number;
  /** Whether new snapshots see it; it is streamed regardless (SPEC I3). */
  visible: boolean;
}

/** A Postgres with a few rows, the publisher behind it, and the topic: what sidecars cannot influence. */
export class Database {
  readonly rows: readonly string[];
  /** The topic: encoded batches. Index is the offset. */
  readonly topic: Batch[] = [];
  readonly #dice: Dice;
  readonly #covers: readonly bigint[];
  #commits: Commit[] = [];
  #covered = true;
  #epoch = 1;
  #lsn = 1000;
  #published = 1000;
  #version = 0;
  /** Below this the history of every epoch so far is the same. */
  #sharedUpTo = Number.POSITIVE_INFINITY;

  constructor(options: { dice: Dice; rows: readonly string[]; covers: readonly bigint[] }) {
    this.#dice = options.dice;
    this.rows = options.rows;
    this.#covers = options.covers;
    this.publish();
  }

  get epoch(): number {
    return this.#epoch;
  }

  get isCovered(): boolean {
    return this.#covered;
  }

  commit(row: string): void {
    this.#lsn += 10;
    this.#version += 1;
    this.#commits.push({ lsn: this.#lsn, row, version: this.#version, visible: this.#dice.chance(0.6) });
  }

  /** Some commit that readers did not see becomes visible, not necessarily the oldest. */
  show(): void {
    const hidden = this.#commits.filter(({ visible }) => !visible);
    if (hidden.length > 0) this.#dice.pick(hidden).visible = true;
  }

  /** Where the WAL is written: every commit so far stands at or before it. */
  get position(): { readonly epoch: number; readonly lsn: number } {
    return { epoch: this.#epoch, lsn: this.#lsn };
  }

  /** The newest version of a row, up to one that was seen, that no failover has undone. */
  survivorOf(row: string, seen: number): number {
    return this.#commits.findLast((commit) => commit.row === row && commit.version <= seen)?.version ?? 0;
  }

  /** A commit that its writer has seen succeed. */
  commitVisibly(row: string): number {
    this.commit(row);
    const last = this.#commits.at(-1) as Commit;
    last.visible = true;
    return last.version;
  }

  /** What a query in a new snapshot finds. */
  read(row: string): number {
    return this.#commits.findLast((commit) => commit.row === row && commit.visible)?.version ?? 0;
  }

  /** The next record: everything since the last one. */
  publish(): void {
    const from = this.#published;
    const to = this.#lsn + this.#dice.below(5);
    const changes = this.#commits.filter(({ lsn }) => lsn > from);
    const rows = new TableChangesBuilder(['id']);
    changes.forEach(({ row }, i) => rows.add({ op: Op.update, commit: i, before: [row], after: [row] }));
    const firstHidden = this.#commits.find(({ visible }) => !visible)?.lsn ?? Number.POSITIVE_INFINITY;
    this.topic.push({
      source: 'main',
      epoch: this.#epoch,
      from,
      to,
      visible: Math.min(to, firstHidden - 1),
      committedAtUs: 0,
      publishedAtUs: 0,
      systemId: 1n,
      timeline: 1,
      heartbeat: changes.length === 0,
      covers: this.#covered ? this.#covers : [],
      commits: changes.map(({ lsn }) => lsn),
      tables: this.#covered && changes.length > 0 ? [{ schema: 'public', table: 'rows', changes: rows.encode() }] : [],
      purges: [],
    });
    this.#published = to;
    this.#lsn = Math.max(this.#lsn, to);
  }

  /** The publisher loses or regains the right to the table: its changes are not in the records meanwhile. */
  toggleCoverage(): void {
    this.publish();
    this.#covered = !this.#covered;
  }

  /** Another server takes over that lacks the newest commits; their positions are used again, under a new epoch. */
  failOver(): void {
    const visible = this.#commits.filter((commit) => commit.visible);
    const kept = visible.slice(0, visible.length - this.#dice.below(3));
    this.#commits = kept;
    this.#lsn = (kept.at(-1)?.lsn ?? 1000) + 5;
    this.#sharedUpTo = Math.min(this.#sharedUpTo, this.#lsn);
    this.#published = this.#lsn;
    this.#epoch += 1;
    this.publish();
  }

  /** The slot was lost: a new epoch without any commit vanishing, but with commits that nobody published. */
  loseSlot(): void {
    this.#published = this.#lsn;
    this.#epoch += 1;
    this.publish();
  }

  /**
   * The least version of a row that may be served under a watermark. Commits that vanished with their server bind
   * nobody; a sidecar that still follows an older epoch has heard only of what both histories have.
   */
  leastVersion(row: string, at: { epoch: number; applied: number }): number {
    const upTo = at.epoch === this.#epoch ? at.applied : Math.min(at.applied, this.#sharedUpTo);
    return this.#commits.findLast((commit) => commit.row === row && commit.lsn <= upTo)?.version ?? 0;
  }
}

export function recordOf(batch: Batch): Uint8Array {
  return encodeBatch(batch);
}
