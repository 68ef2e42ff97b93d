import { Op, TableChangesBuilder, type Batch } from '@tidemark/proto';
import type { Dice } from '../../../sidecar/src/testing/random.ts';

/** The row that is part of every value. */
export const SHARED = 'shared';
/** What is part of every value and of which no row tells: whoever changes it purges. */
export const UNTOLD = 'untold';

/** A transaction that has written and not ended. */
export interface OpenTransaction {
  readonly id: number;
  readonly rows: readonly string[];
  readonly mark: string | undefined;
}

interface Commit extends OpenTransaction {
  readonly lsn: number;
  /** Whether new snapshots see it; it is streamed regardless (SPEC I3). Until then it holds its rows, and its writer no answer. */
  visible: boolean;
}

/**
 * A Postgres with a few rows and row locks, the publisher behind it, and the topic. The content of a row is the number of the
 * transaction that wrote it last.
 */
export class Database {
  /** Index is the offset. */
  readonly topic: Batch[] = [];
  readonly #dice: Dice;
  readonly #covers: readonly bigint[];
  readonly #keys: readonly string[];
  readonly #commits: Commit[] = [];
  readonly #locks = new Map<string, number>();
  #epoch = 1;
  #lsn = 1000;
  #published = 1000;
  #transactions = 0;

  constructor(options: { dice: Dice; covers: readonly bigint[]; keys: readonly string[] }) {
    this.#dice = options.dice;
    this.#keys = options.keys;
    this.#covers = options.covers;
    this.publish();
  }

  /** Where the WAL is written. */
  get position(): { readonly epoch: number; readonly lsn: number } {
    return { epoch: this.#epoch, lsn: this.#lsn };
  }

  /** Writes rows; undefined while another transaction holds one of them. */
  begin(rows: readonly string[], mark?: string): OpenTransaction | undefined {
    if (rows.some((row) => this.#locks.has(row))) return undefined;
    this.#transactions += 1;
    for (const row of rows) this.#locks.set(row, this.#transactions);
    return { id: this.#transactions, rows, mark };
  }

  /** What a statement finds now: what is visible, and what its own transaction wrote. */
  read(row: string, own?: OpenTransaction): number {
    if (own?.rows.includes(row) === true) return own.id;
    return this.#commits.findLast((commit) => commit.visible && commit.rows.includes(row))?.id ?? 0;
  }

  /** It is in the WAL, and nobody sees it yet. */
  commit(transaction: OpenTransaction): void {
    this.#lsn += 10;
    this.#commits.push({ ...transaction, lsn: this.#lsn, visible: false });
  }

  rollBack({ rows }: OpenTransaction): void {
    for (const row of rows) this.#locks.delete(row);
  }

  isVisible({ id }: OpenTransaction): boolean {
    return this.#commits.some((commit) => commit.id === id && commit.visible);
  }

  /** Some commit becomes visible, not necessarily the oldest. */
  show(): void {
    const hidden = this.#commits.filter(({ visible }) => !visible);
    if (hidden.length === 0) return;
    const commit = this.#dice.pick(hidden);
    commit.visible = true;
    for (const row of commit.rows) this.#locks.delete(row);
  }

  /** The next record: what follows the last one, up to the end of the WAL or to some commit before it. */
  publish(): void {
    const dice = this.#dice;
    const from = this.#published;
    const waiting = this.#commits.filter(({ lsn }) => lsn > from);
    const changes = waiting.slice(0, dice.chance(0.5) ? waiting.length : dice.below(waiting.length + 1));
    const to = changes.length === waiting.length ? this.#lsn + dice.below(5) : (changes.at(-1)?.lsn ?? from);
    const firstHidden = this.#commits.find(({ visible }) => !visible)?.lsn ?? Number.POSITIVE_INFINITY;
    const blocks = [
      this.#block('rows', changes, (row) => row !== SHARED && row !== UNTOLD),
      this.#block('others', changes, (row) => row === SHARED),
    ];
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
      covers: this.#covers,
      commits: changes.map(({ lsn }) => lsn),
      // What a record holds stands in no order of positions.
      tables: dice.chance(0.5) ? blocks : blocks.toReversed(),
      purges: changes.flatMap(({ rows }, commit) => (rows.includes(UNTOLD) ? [this.#purge(commit)] : [])),
      marks: changes.flatMap(({ mark: text }, commit) =>
        text === undefined || dice.chance(0.05) ? [] : [{ commit, text }],
      ),
    });
    this.#published = to;
    this.#lsn = Math.max(this.#lsn, to);
  }

  /** The slot was lost: a new epoch, with commits that nobody published. */
  loseSlot(): void {
    this.#published = this.#lsn;
    this.#epoch += 1;
    this.publish();
  }

  /** Whether a row as some transaction left it reflects every commit up to a position. */
  reflects(row: string, id: number, upTo: number): boolean {
    return this.lsnOf(id) >= (this.#commits.findLast((each) => each.lsn <= upTo && each.rows.includes(row))?.lsn ?? 0);
  }

  /** Where a transaction was committed; 0 for what was there from the beginning. */
  lsnOf(id: number): number {
    return this.#commits.find((commit) => commit.id === id)?.lsn ?? 0;
  }

  /** Of every value there is, in one of the forms of a purge. */
  #purge(commit: number): Batch['purges'][number] {
    const none = { commit, namespace: 'values', keys: [], tags: [], all: false };
    return this.#dice.pick([
      { ...none, all: true },
      { ...none, prefixes: this.#keys },
      { ...none, keys: this.#keys },
      { ...none, tags: [SHARED] },
    ]);
  }

  #block(table: string, changes: readonly Commit[], concerns: (row: string) => boolean): Batch['tables'][number] {
    const rows = new TableChangesBuilder(['id']);
    changes.forEach((change, commit) => {
      for (const row of change.rows.filter(concerns)) rows.add({ op: Op.update, commit, before: [row], after: [row] });
    });
    return { schema: 'public', table, changes: rows.encode() };
  }
}
