import type { Lsn } from '@tidemark/proto';
import type { Clock } from './ports.ts';
import type { Target } from './position.ts';
import type { ReplicaView } from './replica.ts';

/**
 * `later-epoch`: positions of the target's epoch cannot be compared any more. `crowded`: too many wait already, so nobody
 * waits for this one.
 */
export type Reached = 'reached' | 'later-epoch' | 'crowded';

interface Wait {
  readonly target: Target;
  readonly settle: (end: Reached) => void;
}

/** Waits until the replica has applied a position. Bounded in number; in time by whoever waits. */
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

  /** How it is now; undefined while there is something to wait for. */
  look(target: Target): Exclude<Reached, 'crowded'> | undefined {
    if (this.#replica.horizon === Number.POSITIVE_INFINITY) return undefined;
    const { epoch } = this.#replica;
    if (target.epoch !== undefined && target.epoch !== epoch) return target.epoch < epoch ? 'later-epoch' : undefined;
    return this.#replica.applied >= target.lsn ? 'reached' : undefined;
  }

  /** `settle` is called once, at once or after a record, unless the answer, which ends the wait, is called before. */
  wait(target: Target, settle: (end: Reached) => void): () => void {
    const end = this.look(target) ?? (this.#waits.size >= this.#most ? 'crowded' : undefined);
    if (end !== undefined) {
      settle(end);
      return () => undefined;
    }
    const wait: Wait = { target, settle };
    this.#waits.add(wait);
    return () => void this.#waits.delete(wait);
  }

  /** Whatever the epoch; false when the time passed first, or when too many wait. */
  reaches(lsn: Lsn, timeoutMs: number): Promise<boolean> {
    const target = { epoch: undefined, lsn };
    if (this.look(target) === 'reached') return Promise.resolve(true);
    if (this.#waits.size >= this.#most) return Promise.resolve(false);
    return new Promise((resolve) => {
      const leave = this.wait(target, () => {
        cancelTimer();
        resolve(true);
      });
      const cancelTimer = this.#clock.after(timeoutMs, () => {
        leave();
        resolve(false);
      });
    });
  }

  /** To be called after each record. O(waits). */
  advanced(): void {
    for (const wait of this.#waits) {
      const end = this.look(wait.target);
      if (end === undefined) continue;
      this.#waits.delete(wait);
      wait.settle(end);
    }
  }
}
