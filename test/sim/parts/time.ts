/** Lets everything run that was made ready: promises settle, and what waited for them goes on, until all of it waits again. */
export function settle(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

interface Timer {
  readonly owner: SimClock;
  readonly dueMs: number;
  readonly run: () => void;
}

/** The one time of a simulated world; it moves when it is told to. */
export class VirtualTime {
  #nowMs = 1_000_000;
  readonly #timers = new Set<Timer>();

  get nowMs(): number {
    return this.#nowMs;
  }

  add(timer: Timer): () => void {
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** A process is gone, and its timers with it. */
  forget(owner: SimClock): void {
    for (const timer of this.#timers) if (timer.owner === owner) this.#timers.delete(timer);
  }

  /** Timers run at their own time, in order; those of a process that sleeps run late, once it is awake. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      let next: Timer | undefined;
      for (const timer of this.#timers) {
        if (timer.dueMs > untilMs || timer.owner.isAsleep) continue;
        if (next === undefined || timer.dueMs < next.dueMs) next = timer;
      }
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.run();
      await settle();
    }
    this.#nowMs = untilMs;
  }
}

/** What one process knows of time. It is the clock of both services. */
export class SimClock {
  readonly #time: VirtualTime;
  isAsleep = false;
  /** How far the clock of the machine is off; other machines have other clocks. */
  wallOffsetMs = 0;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  monotonicMs(): number {
    return this.#time.nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#time.nowMs + this.wallOffsetMs;
  }

  after(delayMs: number, run: () => void): () => void {
    return this.#time.add({ owner: this, dueMs: this.#time.nowMs + delayMs, run });
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /** The process is gone. */
  stop(): void {
    this.#time.forget(this);
  }
}
