import type { Entry } from '@tidemark/proto';
import type { Clock, L1Store, Random } from '../core/ports.ts';
import type { Dice } from './random.ts';

/** A clock that moves when it is told to. */
export class ManualClock implements Clock {
  #nowMs = 1_000_000;
  #timers = new Set<{ readonly dueMs: number; readonly run: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { dueMs: this.#nowMs + delayMs, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Timers run at their own time, in order. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ dueMs }) => dueMs <= untilMs).toSorted((a, b) => a.dueMs - b.dueMs)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#nowMs = due.dueMs;
      due.run();
    }
    this.#nowMs = untilMs;
  }
}

export function countingRandom(dice: Dice): Random {
  let count = 0;
  return { token: () => `t${(count += 1)}`, fraction: () => dice.fraction() };
}

/** L1 without bounds. */
export class MapStore implements L1Store {
  readonly maxBytes = Number.POSITIVE_INFINITY;
  readonly steps = 0;
  readonly displaced = { bytes: 0, entries: 0, total_bytes: 0, total_entries: 0 };
  readonly #entries = new Map<string, Entry>();

  get bytes(): number {
    return this.#entries.size;
  }

  get entries(): number {
    return this.#entries.size;
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  recent(most: number): readonly (readonly [string, Entry])[] {
    return [...this.#entries].slice(-most).toReversed();
  }

  tagged(tag: string, most: number): readonly (readonly [string, Entry])[] {
    return [...this.#entries].filter(([, entry]) => entry.tags.includes(tag)).slice(0, most);
  }

  set(key: string, entry: Entry): boolean {
    this.#entries.set(key, entry);
    return true;
  }

  restate(key: string, { before, after }: { before: Entry; after: Entry }): void {
    if (this.#entries.get(key) === before) this.#entries.set(key, after);
  }

  delete(key: string): number {
    return this.#entries.delete(key) ? 1 : 0;
  }

  deleteTag(tag: string): number {
    const keys = [...this.#entries].filter(([, entry]) => entry.tags.includes(tag)).map(([key]) => key);
    for (const key of keys) this.#entries.delete(key);
    return keys.length;
  }

  clear(): number {
    const count = this.#entries.size;
    this.#entries.clear();
    return count;
  }
}
