import type { Lsn } from '@tidemark/proto';

/** A transaction that was announced and is not known to be visible to new snapshots. */
export interface Unseen {
  /** As the stream gave it, 32 bits. */
  readonly xid: number;
  /** Where its commit record begins: a slot that is confirmed beyond it never delivers it again. */
  readonly start: Lsn;
  /** Its commit position: where the record ends. */
  readonly commit: Lsn;
}

/**
 * The visible clock (SPEC I3): the walsender can stream a commit before new snapshots see it, so a
 * transaction counts as unseen until a snapshot has shown it.
 */
export class VisibleClock {
  #unseen: Unseen[] = [];
  #floor: Lsn;
  readonly #repeats: Lsn;
  #isComplete: boolean;

  /**
   * @param floor everything committed at or before it is visible
   * @param repeats a stream that is continued delivers what was committed up to here once more; before it has come back to
   * this position some unseen transactions are not known
   */
  constructor(floor: Lsn, repeats: Lsn = 0) {
    this.#floor = floor;
    this.#repeats = repeats;
    this.#isComplete = repeats === 0;
  }

  /** Every transaction that was committed at or before this position has been announced. */
  reach(lsn: Lsn): void {
    if (lsn >= this.#repeats) this.#isComplete = true;
  }

  /** In stream order. O(1). */
  announce(transaction: Unseen): void {
    if (transaction.commit > this.#floor) this.#unseen.push(transaction);
  }

  /**
   * Those not yet seen that were committed at or before a position, oldest first; a list of its own, because more are
   * announced while somebody asks about these.
   */
  unseen(upTo: Lsn): readonly Unseen[] {
    const end = this.#unseen.findIndex(({ commit }) => commit > upTo);
    return this.#unseen.slice(0, end < 0 ? undefined : end);
  }

  get count(): number {
    return this.#unseen.length;
  }

  /** Of the transactions that were asked about only `still` are invisible now. */
  saw(asked: readonly Unseen[], still: ReadonlySet<number>): void {
    const seen = new Set(asked.filter(({ xid }) => !still.has(xid)).map(({ commit }) => commit));
    if (seen.size > 0) this.#unseen = this.#unseen.filter(({ commit }) => !seen.has(commit));
  }

  /**
   * The largest position at or before `to` whose confirmation still lets the slot deliver every unseen transaction again; 0
   * while not all of them are known.
   */
  confirmable(to: Lsn): Lsn {
    return this.#isComplete ? Math.min(to, this.#unseen[0]?.start ?? to) : 0;
  }

  /** The largest position at or before `to` with no unseen commit at or before it; never falls while `to` grows. */
  visible(to: Lsn): Lsn {
    if (!this.#isComplete) return Math.min(this.#floor, to);
    const first = this.#unseen[0];
    const visible = first === undefined || first.commit > to ? to : first.commit - 1;
    if (visible > this.#floor) this.#floor = visible;
    return Math.min(this.#floor, to);
  }
}
