const FIRST_MS = 500;
const MAX_MS = 30_000;

/** Growing pauses after failures of something that is tried again at the next look. */
export class Pause {
  #untilMs = Number.NEGATIVE_INFINITY;
  #lengthMs = FIRST_MS;

  isOn(nowMs: number): boolean {
    return nowMs < this.#untilMs;
  }

  /** True for the first failure in a row. */
  begin(nowMs: number): boolean {
    const isFirst = this.#lengthMs === FIRST_MS;
    this.#untilMs = nowMs + this.#lengthMs;
    this.#lengthMs = Math.min(2 * this.#lengthMs, MAX_MS);
    return isFirst;
  }

  end(): void {
    this.#untilMs = Number.NEGATIVE_INFINITY;
    this.#lengthMs = FIRST_MS;
  }
}
