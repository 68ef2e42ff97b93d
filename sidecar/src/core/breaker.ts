import type { Origin, OriginRequest } from './origin.ts';
import type { Clock, Loaded } from './ports.ts';

/** `half-open`: a single load finds out whether it works again. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/**
 * Does not ask an origin for a while that has failed so many times in a row, because more of the same would only keep it, and those who
 * wait, busy. What it answers, and that it answers anything, closes it: only what says nothing of a single key counts as a failure.
 *
 * Of our own because libraries for this count exceptions by clocks of their own, where loads are values and time is passed in.
 */
export class Breaker implements Origin {
  readonly #origin: Origin;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #failures: number;
  readonly #forMs: number;
  #inARow = 0;
  #openUntilMs: number | undefined;
  #isProbing = false;

  constructor(options: {
    origin: Origin;
    clock: Pick<Clock, 'monotonicMs'>;
    /** How many in a row open it, at least 1. */
    failures: number;
    forMs: number;
  }) {
    this.#origin = options.origin;
    this.#clock = options.clock;
    this.#failures = options.failures;
    this.#forMs = options.forMs;
  }

  get state(): BreakerState {
    if (this.#openUntilMs === undefined) return 'closed';
    return this.#clock.monotonicMs() < this.#openUntilMs ? 'open' : 'half-open';
  }

  async load(request: OriginRequest): Promise<Loaded> {
    const state = this.state;
    if (state === 'open' || (state === 'half-open' && this.#isProbing)) {
      const detail = `the last ${this.#inARow} loads failed, so none is tried for ${this.#forMs} ms`;
      return { kind: 'failed', why: 'open', detail };
    }
    const isProbe = state === 'half-open';
    if (isProbe) this.#isProbing = true;
    const loaded = await this.#origin.load(request).catch(broken);
    if (isProbe) this.#isProbing = false;
    if (isFailure(loaded)) this.#failed();
    else if (loaded.kind !== 'failed' || loaded.why !== 'busy') this.#worked();
    return loaded;
  }

  #failed(): void {
    this.#inARow += 1;
    // Those that began before it opened come in late, and must not keep it open for ever.
    if (this.#inARow >= this.#failures && this.state !== 'open')
      this.#openUntilMs = this.#clock.monotonicMs() + this.#forMs;
  }

  #worked(): void {
    this.#inARow = 0;
    this.#openUntilMs = undefined;
  }
}

/** A fault of ours costs the key, not the process. */
function broken(error: unknown): Loaded {
  return { kind: 'failed', why: 'error', detail: `the loader itself failed: ${String(error)}` };
}

/** `busy` is our own limit; an error or a value that is too large is an answer. */
function isFailure(loaded: Loaded): boolean {
  return loaded.kind === 'failed' && (loaded.why === 'timeout' || loaded.why === 'unavailable');
}
