/** Why it ended: the time is over, or the caller gave up. */
export type EndCause = 'late' | 'aborted';

/** How long one piece of work may take, waiting included. */
export class TimeLimit {
  readonly timeoutMs: number;
  readonly #endsAt: number;
  readonly #signal: AbortSignal | undefined;
  readonly #pending = new Set<() => void>();

  constructor(limits: { readonly timeoutMs: number; readonly signal?: AbortSignal }) {
    this.timeoutMs = limits.timeoutMs;
    this.#endsAt = performance.now() + limits.timeoutMs;
    this.#signal = limits.signal;
  }

  /** Negative once it is over. */
  leftMs(): number {
    return this.#endsAt - performance.now();
  }

  /** Calls back once, when the time is over or the caller gives up. The answer prevents it. */
  onEnd(end: (why: EndCause) => void, graceMs = 0): () => void {
    const forget = (): void => {
      clearTimeout(timer);
      this.#signal?.removeEventListener('abort', onAbort);
      this.#pending.delete(forget);
    };
    const fire = (why: EndCause): void => {
      forget();
      end(why);
    };
    const onAbort = (): void => fire('aborted');
    const timer = setTimeout(() => fire('late'), Math.max(0, this.leftMs()) + graceMs);
    this.#pending.add(forget);
    if (this.#signal?.aborted === true) queueMicrotask(() => this.#pending.has(forget) && onAbort());
    else this.#signal?.addEventListener('abort', onAbort, { once: true });
    return forget;
  }

  /** Settles as the promise does, or rejects with the error when that takes too long. */
  race<T>(promise: Promise<T>, graceMs: number, error: (why: EndCause) => Error): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const forget = this.onEnd((why) => reject(error(why)), graceMs);
      promise.finally(forget).then(resolve, reject);
    });
  }

  /** It is done: no timer is left. */
  clear(): void {
    for (const forget of this.#pending) forget();
  }
}
