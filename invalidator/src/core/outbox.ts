import { formatLsn, type Lsn } from '@tidemark/proto';
import type { ChangeBounds } from './bounds.ts';
import { RecordChanges, type CommittedChanges, type EncodedChanges } from './record-changes.ts';

/** A record that is due: everything that was committed in (from, to]. */
export interface DueRecord extends EncodedChanges {
  readonly from: Lsn;
  readonly to: Lsn;
  /** Row changes in it, those in collapsed tables included. */
  readonly rows: number;
  /** How often a bound made something coarser. */
  readonly collapses: number;
}

/** A commit came after its position was passed: records may have left it out, so their chain must end here. */
export class BrokenOrderError extends Error {
  override name = 'BrokenOrderError';

  constructor(commit: Lsn, reached: Lsn) {
    super(`the stream brought a commit at ${formatLsn(commit)} after it had passed ${formatLsn(reached)}`);
  }
}

interface Pending {
  readonly changes: RecordChanges;
  to: Lsn;
}

/**
 * What was read from the stream and not yet handed to Kafka: the chain of positions (SPEC I1) and the batching. While
 * one record is in flight, completed transactions gather in the next one as far as it can hold them.
 */
export class Outbox {
  readonly #bounds: ChangeBounds;
  readonly #maxPending: number;
  readonly #pending: Pending[] = [];
  readonly #start: Lsn;
  #taken: Lsn;
  #reached: Lsn;

  /** @param options.from `to` of the record before the first one. */
  constructor(options: { bounds: ChangeBounds; maxPending: number; from: Lsn }) {
    this.#bounds = options.bounds;
    this.#maxPending = options.maxPending;
    this.#start = options.from;
    this.#taken = options.from;
    this.#reached = options.from;
  }

  /** The stream was read up to here. */
  get reached(): Lsn {
    return this.#reached;
  }

  /** `to` of the newest record that was taken. */
  get taken(): Lsn {
    return this.#taken;
  }

  /** Whether some change waits. */
  get dirty(): boolean {
    return this.#pending.length > 0;
  }

  /** Whether the stream should be paused: as many records wait as may. */
  get full(): boolean {
    return this.#pending.length >= this.#maxPending;
  }

  /** Everything up to here was read. Ignores what lies behind: a restarted stream repeats positions. */
  advance(lsn: Lsn): void {
    if (lsn > this.#reached) this.#reached = lsn;
  }

  /**
   * Adds a transaction in stream order; false when it was in a record before the first one and is skipped. Throws
   * {@link BrokenOrderError} when the stream was said to have passed it already.
   */
  add(committed: CommittedChanges): boolean {
    if (committed.commit <= this.#start) return false;
    if (committed.commit <= this.#reached) throw new BrokenOrderError(committed.commit, this.#reached);
    this.#reached = committed.commit;
    const last = this.#pending.at(-1);
    if (last !== undefined && last.changes.fits(committed.changes)) {
      last.changes.add(committed);
      last.to = committed.commit;
    } else {
      const changes = new RecordChanges(this.#bounds);
      changes.add(committed);
      this.#pending.push({ changes, to: committed.commit });
    }
    return true;
  }

  /** The next record of the chain; without changes it only moves the position (and `from` may equal `to`). */
  take(): DueRecord {
    const next = this.#pending.shift();
    const from = this.#taken;
    const to = next === undefined || this.#pending.length === 0 ? this.#reached : next.to;
    this.#taken = to;
    if (next === undefined) {
      return { from, to, rows: 0, collapses: 0, commits: [], committedAtUs: 0, tables: [], purges: [], marks: [] };
    }
    const { rows, collapses } = next.changes;
    return { from, to, rows, collapses, ...next.changes.encode() };
  }
}
