import type { WarmingJob, WarmJob } from './warm-job.ts';

/** Warmings that wait for their turn with the keys that they were given, and those that are over and still shown. */
const MAX_WAITING = 64;
const MAX_WAITING_KEYS = 100_000;
const MAX_SHOWN = 32;

/** The warmings that are known: those that wait, the one that is under way, and the last ones that are over. */
export class WarmBoard {
  readonly #jobs = new Map<string, WarmingJob>();

  /** False when too many wait already. */
  add(job: WarmingJob): boolean {
    const unended = this.unended();
    const keys = [...unended, job].reduce((sum, { order }) => sum + (order.keys?.length ?? 0), 0);
    if (unended.length >= MAX_WAITING || keys > MAX_WAITING_KEYS) return false;
    this.#jobs.set(job.id, job);
    const ended = [...this.#jobs.values()].filter(({ state }) => state === 'ended');
    for (const { id } of ended.slice(0, Math.max(0, ended.length - MAX_SHOWN))) this.#jobs.delete(id);
    return true;
  }

  get(id: string): WarmingJob | undefined {
    return this.#jobs.get(id);
  }

  /** Those that wait or are under way. */
  unended(): readonly WarmingJob[] {
    return [...this.#jobs.values()].filter(({ state }) => state !== 'ended');
  }

  /** The newest last. */
  shown(nowMs: number): readonly WarmJob[] {
    return [...this.#jobs.values()].map((job) => job.shown(nowMs));
  }
}
