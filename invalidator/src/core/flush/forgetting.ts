/** How many places are remembered: Kafka keeps at most a hundredth longer than it has to. */
const PLACES = 100;

/**
 * Decides which flushed writes Kafka may forget: those that have been in Postgres for so long that nobody wants to read them any
 * more. A database that went back (a failover that lost commits, a restored backup) is flushed again from what is kept.
 */
export class Forgetting {
  readonly #keepMs: number;
  #places: readonly { readonly atMs: number; readonly offset: number }[] = [];

  constructor(options: { readonly keepMs: number }) {
    this.#keepMs = options.keepMs;
  }

  /** Everything below the offset is in Postgres at this time. Answers below which offset all may be forgotten; 0: nothing. */
  at(nowMs: number, offset: number): number {
    const last = this.#places.at(-1);
    if (last === undefined || nowMs - last.atMs >= this.#keepMs / PLACES)
      this.#places = [...this.#places, { atMs: nowMs, offset }];
    const newestOld = this.#places.findLastIndex(({ atMs }) => nowMs - atMs >= this.#keepMs);
    if (newestOld > 0) this.#places = this.#places.slice(newestOld);
    return newestOld < 0 ? 0 : (this.#places[0]?.offset ?? 0);
  }
}
