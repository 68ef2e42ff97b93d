import type { Clock } from '../core/ports.ts';

/** Wakes one sleeper; a ring while nobody sleeps is remembered. */
export class Bell {
  readonly #clock: Clock;
  #rung = false;
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Resolves at the next ring, or after `ms` (undefined: never by time). */
  async wait(ms: number | undefined): Promise<void> {
    if (!this.#rung && ms !== 0) {
      let cancelTimer: (() => void) | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (ms !== undefined) cancelTimer = this.#clock.after(ms, resolve);
      });
      cancelTimer?.();
      this.#wake = undefined;
    }
    this.#rung = false;
  }
}
