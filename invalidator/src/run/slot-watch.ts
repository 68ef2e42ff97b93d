import type { Logger } from '@tidemark/runtime';
import { slotComplaint, type SlotHealth } from '../core/slot-health.ts';

/** The same complaint is told again after this time, ms. */
const REPEAT_MS = 60_000;
const LOOK_MS = 1000;

/** Looks at the slot once a second while it is streamed from, and says when it is in danger. */
export class SlotWatch {
  readonly #options: {
    readonly look: () => Promise<SlotHealth | undefined>;
    readonly onHealth: (health: SlotHealth) => void;
    readonly logger: Logger;
  };
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #heldSinceMs: number | undefined;
  #told: string | undefined;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  /** @param options.look answers undefined where there is no slot; the stream's own failure tells of that */
  constructor(options: {
    look: () => Promise<SlotHealth | undefined>;
    onHealth: (health: SlotHealth) => void;
    logger: Logger;
  }) {
    this.#options = options;
  }

  /** Looks, unless the last look was less than a second ago. Rejects when Postgres does. */
  async check(nowMs: number): Promise<void> {
    if (nowMs - this.#lookedAtMs < LOOK_MS) return;
    this.#lookedAtMs = nowMs;
    const health = await this.#options.look();
    if (health === undefined) return;
    this.#options.onHealth(health);
    if (!health.heldBack) this.#heldSinceMs = undefined;
    else this.#heldSinceMs ??= nowMs;
    this.#tell(health, slotComplaint(health, nowMs - (this.#heldSinceMs ?? nowMs)), nowMs);
  }

  #tell(
    { walStatus, safeWalBytes, lagBytes, retainedBytes }: SlotHealth,
    words: string | undefined,
    nowMs: number,
  ): void {
    const { logger } = this.#options;
    if (words === this.#told && (words === undefined || nowMs - this.#toldAtMs < REPEAT_MS)) return;
    const slot = { walStatus, safeWalBytes, lagBytes, retainedBytes };
    if (words === undefined) logger.info(slot, 'the slot is well again');
    else logger.warn(slot, words);
    this.#told = words;
    this.#toldAtMs = nowMs;
  }
}
