import type { Entry } from '@tidemark/proto';
import type { PositionClient } from './ports.ts';
import type { Position } from './position.ts';

/** Asks how far the database is, for those who must know how new something is that they have seen. Bounded in number. */
export class Positions {
  readonly #client: PositionClient | undefined;
  readonly #most: number;
  readonly #learning = new Map<Entry, (() => void)[]>();
  #asking = 0;
  /** Questions, and those without an answer; several questions may have shared a request. */
  asked = 0;
  failed = 0;

  constructor(options: { client: PositionClient | undefined; most: number }) {
    this.#client = options.client;
    this.#most = options.most;
  }

  /**
   * `settle` is called once, at once or later, with a position at or after everything that anybody could see when this was
   * called; undefined where that cannot be had.
   */
  ask(settle: (position: Position | undefined) => void): void {
    this.asked += 1;
    if (this.#client === undefined || this.#asking >= this.#most) {
      this.failed += 1;
      settle(undefined);
      return;
    }
    this.#asking += 1;
    void this.#client.position().then((answer) => {
      this.#asking -= 1;
      if ('failed' in answer) this.failed += 1;
      settle('failed' in answer ? undefined : answer);
    });
  }

  /**
   * Finds a position at or after every change that the entry shows, and remembers it in the entry; `settle` is called when that
   * has come to an end, whatever it is.
   */
  learn(entry: Entry, settle: () => void = () => undefined): void {
    if (entry.loadedAt !== undefined) {
      settle();
      return;
    }
    const waiting = this.#learning.get(entry);
    if (waiting !== undefined) {
      waiting.push(settle);
      return;
    }
    const settles = [settle];
    this.#learning.set(entry, settles);
    this.ask((position) => {
      this.#learning.delete(entry);
      if (position !== undefined) this.cap(entry, position);
      for (const each of settles) each();
    });
  }

  /**
   * Lowers what an entry may show to a position that was asked for when the entry was there already. Nothing is learned where
   * the entry is of an epoch that is over, or that the invalidator does not know yet.
   */
  cap(entry: Entry, { epoch, lsn }: Position): void {
    if (epoch === entry.epoch)
      entry.loadedAt = Math.max(entry.asOf, Math.min(lsn, entry.loadedAt ?? Number.POSITIVE_INFINITY));
  }
}
