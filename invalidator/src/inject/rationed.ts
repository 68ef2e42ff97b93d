/** What may be said so often in a stretch of time, and no more. */
export class Rationed {
  readonly #options: { readonly most: number; readonly perMs: number };
  #beganAtMs = -Infinity;
  #said = 0;
  #unsaid = 0;

  constructor(options: { readonly most: number; readonly perMs: number }) {
    this.#options = options;
  }

  /**
   * Whether it may be said now: how often it was not since it last was, or undefined where it may not.
   *
   * @param nowMs of a clock that never goes back
   */
  admit(nowMs: number): number | undefined {
    if (nowMs - this.#beganAtMs >= this.#options.perMs) [this.#beganAtMs, this.#said] = [nowMs, 0];
    if (this.#said >= this.#options.most) {
      this.#unsaid += 1;
      return undefined;
    }
    this.#said += 1;
    const unsaid = this.#unsaid;
    this.#unsaid = 0;
    return unsaid;
  }
}
