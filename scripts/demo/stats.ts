export const layers = ['l1', 'l2', 'postgres'] as const;
export type Layer = (typeof layers)[number];

/** Counts since the start. */
export interface Totals {
  readonly reads: Readonly<Record<Layer, number>>;
  readonly writes: number;
}

export const noTotals: Totals = { reads: { l1: 0, l2: 0, postgres: 0 }, writes: 0 };

export function sumOf(reads: Totals['reads']): number {
  return reads.l1 + reads.l2 + reads.postgres;
}

/** The share of reads that a cache answered, from 0 to 1; undefined where nothing was read. */
export function hitRatio(reads: Totals['reads']): number | undefined {
  const sum = sumOf(reads);
  return sum === 0 ? undefined : 1 - reads.postgres / sum;
}

/** What happened in the newest part of time, from totals that are noted now and then. */
export class RateWindow {
  readonly #spanMs: number;
  #notes: { readonly atMs: number; readonly totals: Totals }[];

  constructor(options: { spanMs: number; nowMs: number }) {
    this.#spanMs = options.spanMs;
    this.#notes = [{ atMs: options.nowMs, totals: noTotals }];
  }

  note(nowMs: number, totals: Totals): void {
    this.#notes.push({ atMs: nowMs, totals });
    // The oldest one that is kept lies at or before the begin of the span.
    while ((this.#notes[1]?.atMs ?? nowMs) <= nowMs - this.#spanMs) this.#notes.shift();
  }

  /** Counts a second over the span. */
  perSecond(): Totals {
    const [first, last] = [this.#notes[0], this.#notes.at(-1)];
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return noTotals;
    const rate = (from: number, to: number): number => ((to - from) * 1000) / (last.atMs - first.atMs);
    const { reads, writes } = first.totals;
    return {
      reads: {
        l1: rate(reads.l1, last.totals.reads.l1),
        l2: rate(reads.l2, last.totals.reads.l2),
        postgres: rate(reads.postgres, last.totals.reads.postgres),
      },
      writes: rate(writes, last.totals.writes),
    };
  }
}

export interface Quantiles {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Nearest rank; undefined where there are no samples. */
export function quantiles(samplesMs: readonly number[]): Quantiles | undefined {
  const sorted = samplesMs.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
  return sorted.length === 0 ? undefined : { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

const maxSamples = 100_000;

/** Latencies with the time they were seen at; the newest 100,000. */
export class Latencies {
  #samples: { readonly atMs: number; readonly ms: number }[] = [];

  add(nowMs: number, ms: number): void {
    this.#samples.push({ atMs: nowMs, ms });
    if (this.#samples.length > 2 * maxSamples) this.#samples = this.#samples.slice(-maxSamples);
  }

  /** Of those seen since a time (default: all). */
  since(sinceMs = Number.NEGATIVE_INFINITY): Quantiles | undefined {
    const first = this.#samples.findLastIndex(({ atMs }) => atMs < sinceMs) + 1;
    return quantiles(this.#samples.slice(first).map(({ ms }) => ms));
  }
}
