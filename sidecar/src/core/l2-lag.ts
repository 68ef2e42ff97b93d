import type { Lsn } from '@tidemark/proto';

interface Sample {
  readonly applied: Lsn;
  readonly atMs: number;
}

/** How far Redis is behind this sidecar in time: fence logs carry positions only. */
export class L2Lag {
  readonly #most: number;
  readonly #samples: Sample[] = [];
  #lagMs: number | null = null;

  /** @param most samples that are remembered; one a second, say. */
  constructor(most: number) {
    this.#most = most;
  }

  /** As of the newest sample; null while Redis has no fence log or was not asked. */
  get lagMs(): number | null {
    return this.#lagMs;
  }

  /** @param to how far the fence log is; undefined where there is none. O(samples). */
  sample(now: { applied: Lsn; to: Lsn | undefined; atMs: number }): void {
    this.#samples.push({ applied: now.applied, atMs: now.atMs });
    if (this.#samples.length > this.#most) this.#samples.shift();
    const { to } = now;
    if (to === undefined) {
      this.#lagMs = null;
      return;
    }
    const firstBeyond = this.#samples.find(({ applied }) => applied > to);
    this.#lagMs = firstBeyond === undefined ? 0 : now.atMs - firstBeyond.atMs;
  }
}
