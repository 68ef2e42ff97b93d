import type { Lsn } from '@tidemark/proto';

/** A transaction that was announced and is not known to be visible to new snapshots. */
export interface Unseen {
  /** As the stream gave it, 32 bits. */
  readonly xid: number;
  readonly commit: Lsn;
}

/**
 * The visible clock (SPEC I3, protocol R3): the walsender can stream a commit before new snapshots see it, so a
 * transaction counts as unseen until a snapshot has shown it.
 */
export class VisibleClock {
  #unseen: Unseen[] = [];
  #floor: Lsn;

  /** @param floor everything committed at or before it is visible. */
  constructor(floor: Lsn) {
    this.#floor = floor;
  }

  /** In stream order. O(1). */
  announce(xid: number, commit: Lsn): void {
    if (commit > this.#floor) this.#unseen.push({ xid, commit });
  }

  /** Those not yet seen that were committed at or before a position, oldest first. */
  unseen(upTo: Lsn): readonly Unseen[] {
    const end = this.#unseen.findIndex(({ commit }) => commit > upTo);
    return end < 0 ? this.#unseen : this.#unseen.slice(0, end);
  }

  get count(): number {
    return this.#unseen.length;
  }

  /** Of the transactions that were asked about only `still` are invisible now. */
  saw(asked: readonly Unseen[], still: ReadonlySet<number>): void {
    const seen = new Set(asked.filter(({ xid }) => !still.has(xid)).map(({ commit }) => commit));
    if (seen.size > 0) this.#unseen = this.#unseen.filter(({ commit }) => !seen.has(commit));
  }

  /** The largest position at or before `to` with no unseen commit at or before it; never falls while `to` grows. */
  visible(to: Lsn): Lsn {
    const first = this.#unseen[0];
    const visible = first === undefined || first.commit > to ? to : first.commit - 1;
    if (visible > this.#floor) this.#floor = visible;
    return Math.min(this.#floor, to);
  }
}
