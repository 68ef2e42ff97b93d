/** While requests wait, one key is begun alone, and the next one after so long: so it goes on, and is never ahead of them. */
const TRICKLE_MS = 250;

/** What goes on besides. */
export interface Load {
  /** Keys that were begun and have not ended. */
  readonly underWay: number;
  /** Requests of applications that wait for values now. */
  readonly waiting: number;
}

/** How fast keys are warmed: never faster than a rate, never more at a time than allowed, and hardly at all while requests wait. */
export class Pace {
  readonly #perMs: number;
  readonly #concurrency: number;
  #tokens: number;
  #atMs: number;
  #beganMs = Number.NEGATIVE_INFINITY;

  /** @param options.rate keys a second */
  constructor(options: { rate: number; concurrency: number; nowMs: number }) {
    this.#perMs = options.rate / 1000;
    this.#concurrency = options.concurrency;
    this.#tokens = 1;
    this.#atMs = options.nowMs;
  }

  /** Whether the next key may begin now; it has begun if so. Otherwise how long not to ask again, unless a key ends before. */
  next(nowMs: number, load: Load): { readonly begins: true } | { readonly begins: false; readonly waitMs: number } {
    // What was saved up while it could not go on is not made up for.
    this.#tokens = Math.min(Math.max(1, this.#concurrency), this.#tokens + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
    const waitMs = this.#waitMs(nowMs, load);
    if (waitMs > 0) return { begins: false, waitMs };
    this.#tokens -= 1;
    this.#beganMs = nowMs;
    return { begins: true };
  }

  #waitMs(nowMs: number, { underWay, waiting }: Load): number {
    const forTokenMs = this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) / this.#perMs);
    if (underWay >= this.#concurrency) return Math.max(forTokenMs, TRICKLE_MS);
    if (waiting === 0) return forTokenMs;
    const forTurnMs = underWay > 0 ? TRICKLE_MS : Math.ceil(this.#beganMs + TRICKLE_MS - nowMs);
    return Math.max(forTokenMs, forTurnMs, 0);
  }
}
