/** While requests wait, one key is begun alone, and the next one after so long: so it goes on, and is never ahead of them. */
const TRICKLE_MS = 250;
/** What a key costs; a rate of one a second earns as much in a second. */
const KEY = 1_000;

/** What goes on besides. */
export interface Load {
  /** Keys that were begun and have not ended. */
  readonly underWay: number;
  /** Requests of applications that wait for values now. */
  readonly waiting: number;
}

/** How fast keys are warmed: never faster than a rate, never more at a time than allowed, and hardly at all while requests wait. */
export class Pace {
  readonly #rate: number;
  readonly #concurrency: number;
  /** Thousandths of keys that may begin, so that whole milliseconds add up to whole keys without rounding. */
  #credit = KEY;
  #atMs: number;
  #beganMs = Number.NEGATIVE_INFINITY;

  /** @param options.rate keys a second */
  constructor(options: { rate: number; concurrency: number; nowMs: number }) {
    this.#rate = options.rate;
    this.#concurrency = options.concurrency;
    this.#atMs = options.nowMs;
  }

  /** Whether the next key may begin now; it has begun if so. Otherwise how long not to ask again, unless a key ends before. */
  next(nowMs: number, load: Load): { readonly begins: true } | { readonly begins: false; readonly waitMs: number } {
    // What was saved up while it could not go on is not made up for.
    this.#credit = Math.min(KEY * Math.max(1, this.#concurrency), this.#credit + (nowMs - this.#atMs) * this.#rate);
    this.#atMs = nowMs;
    const waitMs = this.#waitMs(nowMs, load);
    if (waitMs > 0) return { begins: false, waitMs };
    this.#credit -= KEY;
    this.#beganMs = nowMs;
    return { begins: true };
  }

  #waitMs(nowMs: number, { underWay, waiting }: Load): number {
    const forRateMs = Math.max(0, Math.ceil((KEY - this.#credit) / this.#rate));
    if (underWay >= this.#concurrency) return Math.max(forRateMs, TRICKLE_MS);
    if (waiting === 0) return forRateMs;
    const forTurnMs = underWay > 0 ? TRICKLE_MS : Math.ceil(this.#beganMs + TRICKLE_MS - nowMs);
    return Math.max(forRateMs, forTurnMs, 0);
  }
}
