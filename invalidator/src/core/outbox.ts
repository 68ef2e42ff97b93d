import type { Lsn } from '@tidemark/proto';
import type { ChangeBounds } from './bounds.ts';
import { RecordChanges, type CommittedChanges, type EncodedChanges } from './record-changes.ts';

/** A record that is due: everything that was committed in (from, to]. */
export interface DueRecord extends EncodedChanges {
  readonly from: Lsn;
  readonly to: Lsn;
  readonly rows: number;
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
  #taken: Lsn;
  #reached: Lsn;

  /** @param options.from `to` of the record before the first one. */
  constructor(options: { bounds: ChangeBounds; maxPending: number; from: Lsn }) {
    this.#bounds = options.bounds;
    this.#maxPending = options.maxPending;
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

  /** Adds a transaction in stream order; false when it was in an earlier record and is skipped. */
  add(committed: CommittedChanges): boolean {
    if (committed.commit <= this.#reached) return false;
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
    if (next === undefined) return { from, to, rows: 0, commits: [], committedAtUs: 0, tables: [], purges: [] };
    return { from, to, rows: next.changes.rows, ...next.changes.encode() };
  }
}
