/** A promise was not settled in time. What it stands for may still happen. */
export class DeadlineError extends Error {
  override name = 'DeadlineError';

  constructor(what: string, deadlineMs: number) {
    super(`${what}: no answer within ${deadlineMs} ms`);
  }
}

/** What a deadline needs of a clock. */
export interface DeadlineClock {
  monotonicMs(): number;
  after(delayMs: number, run: () => void): () => void;
}

const SYSTEM: DeadlineClock = {
  monotonicMs: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};

interface Waiting {
  readonly dueAt: number;
  readonly expire: () => void;
  settled: boolean;
}

/**
 * Puts the same hard deadline on many promises. Because the deadline is the same for all, they come due in the order in
 * which they began: one timer for the oldest serves all of them, so a deadline costs a queue entry instead of a timer.
 */
export class Deadlines {
  readonly #deadlineMs: number;
  readonly #what: string;
  readonly #clock: DeadlineClock;
  #queue: Waiting[] = [];
  #head = 0;
  #isWaiting = false;

  /** @param what names the thing in the error */
  constructor(what: string, deadlineMs: number, clock: DeadlineClock = SYSTEM) {
    this.#what = what;
    this.#deadlineMs = deadlineMs;
    this.#clock = clock;
  }

  /** Settles as the promise does, or rejects with {@link DeadlineError} when that takes too long. */
  race<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiting: Waiting = {
        dueAt: this.#clock.monotonicMs() + this.#deadlineMs,
        expire: () => reject(new DeadlineError(this.#what, this.#deadlineMs)),
        settled: false,
      };
      this.#queue.push(waiting);
      if (!this.#isWaiting) this.#wake(this.#deadlineMs);
      promise.then(
        (value) => {
          waiting.settled = true;
          resolve(value);
        },
        (error: unknown) => {
          waiting.settled = true;
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      );
    });
  }

  readonly #expire = (): void => {
    // A timer may fire up to a millisecond before the clock says so.
    const now = this.#clock.monotonicMs() + 1;
    for (; this.#head < this.#queue.length; this.#head++) {
      const waiting = this.#queue[this.#head] as Waiting;
      if (waiting.settled) continue;
      if (waiting.dueAt > now) break;
      waiting.expire();
    }
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
    const oldest = this.#queue[0];
    this.#isWaiting = false;
    if (oldest !== undefined) this.#wake(Math.max(1, oldest.dueAt - this.#clock.monotonicMs()));
  };

  #wake(afterMs: number): void {
    this.#isWaiting = true;
    this.#clock.after(afterMs, this.#expire);
  }
}

/** One promise with one deadline, for what happens seldom or with deadlines that differ. */
export function withDeadline<T>(
  promise: Promise<T>,
  options: { readonly what: string; readonly deadlineMs: number },
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(new DeadlineError(options.what, options.deadlineMs)), options.deadlineMs);
    promise.finally(() => clearTimeout(timer)).then(resolve, reject);
  });
}
