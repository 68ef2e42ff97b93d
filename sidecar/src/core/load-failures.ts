import type { LoadFailure } from './ports.ts';

const FIRST_MS = 100;
const LONGEST_MS = 1_000;
/** Keys of one namespace; the one that failed first is forgotten. */
const MOST = 1_000;
/** Those say nothing of the next load of the key: it was not tried, or it succeeded too late. */
const PASSING: ReadonlySet<LoadFailure['why']> = new Set(['busy', 'open', 'changing']);

interface Remembered {
  readonly failure: LoadFailure;
  readonly times: number;
  readonly untilMs: number;
}

/**
 * Loads that failed a moment ago. Whoever asks for such a key is told so at once instead of loading it again: 100 ms after the first
 * failure, twice as long after each further one, a second at most. A key that cannot be loaded so costs the database one load in
 * that time, however many ask for it. (The loader's breaker spares it where all keys fail.) Times are of the monotonic clock.
 */
export class LoadFailures {
  readonly #byKey = new Map<string, Remembered>();

  /** Undefined where the key may be loaded. */
  of(key: string, nowMs: number): LoadFailure | undefined {
    if (this.#byKey.size === 0) return undefined;
    const found = this.#byKey.get(key);
    return found !== undefined && nowMs < found.untilMs ? found.failure : undefined;
  }

  failed(key: string, failure: LoadFailure, nowMs: number): void {
    if (PASSING.has(failure.why)) return;
    const before = this.#byKey.get(key);
    const times = before !== undefined && nowMs < before.untilMs + LONGEST_MS ? before.times + 1 : 1;
    const forMs = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(times - 1, 10));
    this.#byKey.delete(key);
    this.#byKey.set(key, { failure, times, untilMs: nowMs + forMs });
    if (this.#byKey.size <= MOST) return;
    const oldest = this.#byKey.keys().next();
    if (!oldest.done) this.#byKey.delete(oldest.value);
  }

  succeeded(key: string): void {
    if (this.#byKey.size > 0) this.#byKey.delete(key);
  }
}
