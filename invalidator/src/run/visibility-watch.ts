import type { Lsn } from '@tidemark/proto';
import type { Clock } from '../core/ports.ts';
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
  readonly #visible: VisibleClock;
  readonly #clock: Clock;
  readonly #ask: Ask;
  readonly #onSeen: () => void;
  #asking: Promise<void> | undefined;
  #cancelRecheck: (() => void) | undefined;
  #recheckMs = PATIENCE.firstRecheckMs;
  #stopped = false;

  constructor(options: { visible: VisibleClock; clock: Clock; ask: Ask; onSeen: () => void }) {
    this.#visible = options.visible;
    this.#clock = options.clock;
    this.#ask = options.ask;
    this.#onSeen = options.onSeen;
  }

  /** The position to publish with a record that ends at `to`. Never rejects; takes a few milliseconds at the most. */
  async look(to: Lsn): Promise<Lsn> {
    const until = this.#clock.monotonicMs() + PATIENCE.lookMs;
    while (this.#visible.unseen(to).length > 0) {
      const left = until - this.#clock.monotonicMs();
      if (left <= 0) break;
      await Promise.race([this.#askOnce(to), this.#sleep(left)]);
      if (this.#visible.unseen(to).length > 0) await this.#sleep(PATIENCE.retryMs);
    }
    if (this.#visible.unseen(to).length > 0) this.#recheckLater();
    return this.#visible.visible(to);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelRecheck?.();
  }

  /** One question at a time; a second caller waits for the first one's answer. Never rejects. */
  #askOnce(to: Lsn): Promise<void> {
    this.#asking ??= this.#askNow(to).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askNow(to: Lsn): Promise<void> {
    const asked = this.#visible.unseen(to);
    try {
      const still = await this.#ask(asked.map(({ xid }) => xid));
      this.#visible.saw(asked, still);
    } catch {
      // Whoever owns the connection knows already; until it is back, the clock stands still.
    }
  }

  #recheckLater(): void {
    if (this.#stopped || this.#cancelRecheck !== undefined) return;
    this.#cancelRecheck = this.#clock.after(this.#recheckMs, () => {
      void this.#askOnce(Number.MAX_SAFE_INTEGER).then(() => {
        this.#cancelRecheck = undefined;
        if (this.#stopped) return;
        this.#onSeen();
        this.#recheckMs =
          this.#visible.count === 0 ? PATIENCE.firstRecheckMs : Math.min(2 * this.#recheckMs, PATIENCE.maxRecheckMs);
        if (this.#visible.count > 0) this.#recheckLater();
      });
    });
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#clock.after(ms, resolve));
  }
}
