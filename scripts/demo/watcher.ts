import { milliseconds, type Part, type PartState, percent } from './view.ts';

/** How a hit ratio must differ from the usual one to be news, and how near it must come to have recovered. */
const fall = 0.1;
const near = 0.03;
/** Weight of a new hit ratio in the usual one. */
const weight = 0.1;
/** The caches fill first; until then there is no usual hit ratio. */
const warmUpMs = 5_000;

/** Turns states and figures into news: who got into trouble, who recovered, and how long it took. Pure; time is passed in. */
export class Watcher {
  /** Of parts that have been up once. */
  readonly #states = new Map<string, PartState>();
  readonly #notUpSinceMs = new Map<string, number>();
  readonly #notes = new Map<string, string>();
  readonly #startedAtMs: number;
  #usual: number | undefined;
  #fallen: { readonly sinceMs: number; lowest: number } | undefined;

  constructor(nowMs: number) {
    this.#startedAtMs = nowMs;
  }

  parts(nowMs: number, parts: readonly Part[]): string[] {
    return parts.flatMap((part) => [...this.#state(nowMs, part), ...this.#note(part)]);
  }

  #state(nowMs: number, { name, state }: Part): string[] {
    const before = this.#states.get(name);
    if (before === state || (before === undefined && state !== 'up')) return [];
    this.#states.set(name, state);
    const sinceMs = this.#notUpSinceMs.get(name);
    if (state === 'up') {
      this.#notUpSinceMs.delete(name);
      return sinceMs === undefined ? [] : [`${name} is back after ${milliseconds(nowMs - sinceMs)}`];
    }
    if (sinceMs === undefined) this.#notUpSinceMs.set(name, nowMs);
    if (state !== 'waiting' || !name.startsWith('sidecar')) return [];
    return [`${name} hears nothing: it answers misses, its app reads Postgres`];
  }

  #note({ name, state, note }: Part): string[] {
    if (state !== 'up') return [];
    const before = this.#notes.get(name);
    this.#notes.set(name, note);
    return before === undefined || before === note || note === '' ? [] : [`${name}: ${note}`];
  }

  /** @param ratio hit ratio of about the last second */
  hitRatio(nowMs: number, ratio: number | undefined): string[] {
    if (ratio === undefined || nowMs - this.#startedAtMs < warmUpMs) return [];
    this.#usual ??= ratio;
    if (this.#fallen === undefined) {
      if (ratio >= this.#usual - fall) {
        this.#usual += (ratio - this.#usual) * weight;
        return [];
      }
      this.#fallen = { sinceMs: nowMs, lowest: ratio };
      return [`the hit ratio falls: ${percent(this.#usual)} to ${percent(ratio)}`];
    }
    this.#fallen.lowest = Math.min(this.#fallen.lowest, ratio);
    if (ratio < this.#usual - near) return [];
    const { sinceMs, lowest } = this.#fallen;
    this.#fallen = undefined;
    return [
      `the hit ratio is back at ${percent(ratio)} after ${milliseconds(nowMs - sinceMs)} (lowest ${percent(lowest)})`,
    ];
  }
}
