import type { Lsn } from '@tidemark/proto';
import type { Clock } from './ports.ts';
import type { ReplicaView } from './replica.ts';

interface Wait {
  readonly lsn: Lsn;
  readonly settle: (reached: boolean) => void;
}

/** Waits until the replica has applied a position. Bounded in number and time. */
export class Watermark {
  readonly #replica: ReplicaView;
  readonly #clock: Clock;
  readonly #most: number;
  readonly #waits = new Set<Wait>();

  constructor(options: { replica: ReplicaView; clock: Clock; most: number }) {
    this.#replica = options.replica;
    this.#clock = options.clock;
    this.#most = options.most;
  }

  get waiting(): number {
    return this.#waits.size;
  }

  /** False when the time passed first, or when too many wait. */
  reaches(lsn: Lsn, timeoutMs: number): Promise<boolean> {
    if (this.#isReached(lsn)) return Promise.resolve(true);
    if (this.#waits.size >= this.#most) return Promise.resolve(false);
    return new Promise((resolve) => {
      const cancelTimer = this.#clock.after(timeoutMs, () => wait.settle(false));
      const wait: Wait = {
        lsn,
        settle: (reached) => {
          cancelTimer();
          this.#waits.delete(wait);
          resolve(reached);
        },
      };
      this.#waits.add(wait);
    });
  }

  /** To be called after each record. O(waits). */
  advanced(): void {
    for (const wait of this.#waits) if (this.#isReached(wait.lsn)) wait.settle(true);
  }

  #isReached(lsn: Lsn): boolean {
    return this.#replica.horizon !== Number.POSITIVE_INFINITY && this.#replica.applied >= lsn;
  }
}
