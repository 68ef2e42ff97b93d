/** A promise was not settled in time. What it stands for may still happen. */
export class DeadlineError extends Error {
  override name = 'DeadlineError';

  constructor(what: string, deadlineMs: number) {
    super(`${what}: no answer within ${deadlineMs} ms`);
  }
}

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
  #queue: Waiting[] = [];
  #head = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param what names the thing in the error */
  constructor(what: string, deadlineMs: number) {
    this.#what = what;
    this.#deadlineMs = deadlineMs;
  }

  /** Settles as the promise does, or rejects with {@link DeadlineError} when that takes too long. */
  race<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiting: Waiting = {
        dueAt: performance.now() + this.#deadlineMs,
        expire: () => reject(new DeadlineError(this.#what, this.#deadlineMs)),
        settled: false,
      };
      this.#queue.push(waiting);
      this.#timer ??= setTimeout(this.#expire, this.#deadlineMs);
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
    const now = performance.now() + 1;
    for (; this.#head < this.#queue.length; this.#head++) {
      const waiting = this.#queue[this.#head] as Waiting;
      if (waiting.settled) continue;
      if (waiting.dueAt > now) break;
      waiting.expire();
    }
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
    const oldest = this.#queue[0];
    this.#timer =
      oldest === undefined ? undefined : setTimeout(this.#expire, Math.max(1, oldest.dueAt - performance.now()));
  };
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
