import { setTimeout as wait } from 'node:timers/promises';

/** Growing pauses between attempts, with jitter so that many processes do not try again in step. */
export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  #attempt = 0;

  constructor(options: { readonly firstMs: number; readonly maxMs: number }) {
    this.#firstMs = options.firstMs;
    this.#maxMs = options.maxMs;
  }

  /** Something worked: the next pause is short again. */
  reset(): void {
    this.#attempt = 0;
  }

  /** The next pause in ms: between half and all of `firstMs` doubled with each attempt, at most `maxMs`. */
  nextMs(): number {
    const ceiling = Math.min(this.#firstMs * 2 ** this.#attempt, this.#maxMs);
    this.#attempt = Math.min(this.#attempt + 1, 30);
    return ceiling * (0.5 + Math.random() / 2);
  }

  /** Waits for the next pause; returns early, without an error, when the signal aborts. */
  async pause(signal?: AbortSignal): Promise<void> {
    await wait(this.nextMs(), undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
  }
}
