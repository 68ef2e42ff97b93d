import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@tidemark/runtime';
import { slotComplaint, type SlotHealth } from '../core/slot-health.ts';

/** The same complaint is told again after this time, ms. */
const REPEAT_MS = 60_000;
const LOOK_MS = 1000;

export interface SlotWatchOptions {
  /** Answers undefined where there is no slot; the stream's own failure tells of that. */
  readonly look: () => Promise<SlotHealth | undefined>;
  readonly onHealth: (health: SlotHealth) => void;
  readonly logger: Logger;
}

/** Watches the slot once a second until it is stopped, also while Kafka is away: then the slot is in danger. */
export async function watchSlot(options: SlotWatchOptions & { readonly stop: AbortSignal }): Promise<void> {
  const watch = new SlotWatch(options);
  while (!options.stop.aborted) {
    await watch.check(performance.now()).catch(() => undefined); // that Postgres is away is told elsewhere
    await sleep(LOOK_MS, undefined, { signal: options.stop }).catch(() => undefined);
  }
}

/** Says when the slot is in danger, once. */
export class SlotWatch {
  readonly #options: SlotWatchOptions;
  #heldSinceMs: number | undefined;
  #told: string | undefined;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: SlotWatchOptions) {
    this.#options = options;
  }

  /** Looks. Rejects when Postgres does. */
  async check(nowMs: number): Promise<void> {
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
