import { setTimeout as sleep } from 'node:timers/promises';
import type { Lsn } from '@tidemark/proto';
import type { VisibleClock } from '../core/visibility.ts';

/** How hard to look before a record goes out, and how often to look again afterwards, ms. */
const PATIENCE = { lookMs: 5, retryMs: 0.5, firstRecheckMs: 20, maxRecheckMs: 200, deadlineMs: 1000 };

/** Asks which of some transactions new snapshots do not see. Rejects when it cannot be asked. */
export type Ask = (xids: readonly number[]) => Promise<ReadonlySet<number>>;

/**
 * Moves the visible clock. Before a record goes out it looks for a few milliseconds; what is not seen by then is looked
 * for again later, so that nothing ever delays an eviction (SPEC I3).
 */
export class VisibilityWatch {
  readonly #clock: VisibleClock;
  readonly #ask: Ask;
  readonly #onSeen: () => void;
  #asking: Promise<void> | undefined;
  #recheck: NodeJS.Timeout | undefined;
  #recheckMs = PATIENCE.firstRecheckMs;
  #stopped = false;

  constructor(options: { clock: VisibleClock; ask: Ask; onSeen: () => void }) {
    this.#clock = options.clock;
    this.#ask = options.ask;
    this.#onSeen = options.onSeen;
  }

  /** The position to publish with a record that ends at `to`. Never rejects; takes a few milliseconds at the most. */
  async look(to: Lsn): Promise<Lsn> {
    const until = performance.now() + PATIENCE.lookMs;
    while (this.#clock.unseen(to).length > 0) {
      const left = until - performance.now();
      if (left <= 0) break;
      await Promise.race([this.#askOnce(to), sleep(left)]);
      if (this.#clock.unseen(to).length > 0) await sleep(PATIENCE.retryMs);
    }
    if (this.#clock.unseen(to).length > 0) this.#recheckLater();
    return this.#clock.visible(to);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#recheck);
  }

  /** One question at a time; a second caller waits for the first one's answer. Never rejects. */
  #askOnce(to: Lsn): Promise<void> {
    this.#asking ??= this.#askNow(to).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askNow(to: Lsn): Promise<void> {
    const asked = this.#clock.unseen(to);
    try {
      const still = await this.#ask(asked.map(({ xid }) => xid));
      this.#clock.saw(asked, still);
    } catch {
      // Whoever owns the connection knows already; until it is back, the clock stands still.
    }
  }

  #recheckLater(): void {
    if (this.#stopped || this.#recheck !== undefined) return;
    this.#recheck = setTimeout(() => {
      void this.#askOnce(Number.MAX_SAFE_INTEGER).then(() => {
        this.#recheck = undefined;
        if (this.#stopped) return;
        this.#onSeen();
        this.#recheckMs =
          this.#clock.count === 0 ? PATIENCE.firstRecheckMs : Math.min(2 * this.#recheckMs, PATIENCE.maxRecheckMs);
        if (this.#clock.count > 0) this.#recheckLater();
      });
    }, this.#recheckMs);
  }
}
