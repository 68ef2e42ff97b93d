import { formatLsn, type Lsn, type Span } from '@tidemark/proto';

/** A commit position of one epoch. */
export interface StreamPosition {
  readonly epoch: number;
  readonly lsn: Lsn;
}

/** Where a replay begins: positions and times belong to it themselves. */
export type Start =
  | { readonly kind: 'any' }
  | ({ readonly kind: 'position' } & StreamPosition)
  /** The first record that was written then or later. */
  | { readonly kind: 'time'; readonly timeMs: number };

/** Where a replay ends, itself included. */
export type End =
  | { readonly kind: 'open' }
  | ({ readonly kind: 'position' } & StreamPosition)
  /** The first record that was written later is not part of it. */
  | { readonly kind: 'time'; readonly timeMs: number };

export interface Range {
  readonly from: Start;
  readonly to: End;
}

/** What is known of a record before its contents matter; no span where it cannot be read. */
export interface RecordPlace {
  readonly timestampMs: number;
  readonly span: Span | undefined;
}

/** Negative, zero or positive as `a` comes before, with or after `b`. A later epoch comes after all of an earlier one. */
export function comparePositions(a: StreamPosition, b: StreamPosition): number {
  return a.epoch === b.epoch ? a.lsn - b.lsn : a.epoch - b.epoch;
}

export function formatPosition({ epoch, lsn }: StreamPosition): string {
  return `${epoch}:${formatLsn(lsn)}`;
}

/** Chooses the records of a range while they pass, whatever gaps, repeats and epochs are among them. */
export class RangeFilter {
  readonly #range: Range;
  #isStarted: boolean;
  /** The furthest position so far. */
  #reached: StreamPosition | undefined;

  /** @param reached where an earlier run had come to: its range has begun */
  constructor(range: Range, reached?: StreamPosition) {
    this.#range = range;
    this.#isStarted = reached !== undefined || range.from.kind === 'any';
    this.#reached = reached;
  }

  /** Whether the next record belongs to the range; `after` means that none of the rest does. */
  place(record: RecordPlace): 'before' | 'inside' | 'after' {
    if (!this.#isStarted && !begins(this.#range.from, record)) {
      this.#reach(record);
      return 'before';
    }
    this.#isStarted = true;
    if (this.#isPast(record)) return 'after';
    this.#reach(record);
    return 'inside';
  }

  #reach({ span }: RecordPlace): void {
    if (span === undefined) return;
    const end = { epoch: span.epoch, lsn: span.to };
    if (this.#reached === undefined || comparePositions(end, this.#reached) > 0) this.#reached = end;
  }

  #isPast({ timestampMs, span }: RecordPlace): boolean {
    const { to } = this.#range;
    if (to.kind === 'open') return false;
    if (to.kind === 'time') return timestampMs > to.timeMs;
    if (this.#reached === undefined)
      return span !== undefined && comparePositions({ epoch: span.epoch, lsn: span.from }, to) >= 0;
    // A record that begins behind the end although nothing has reached it tells of a gap that belongs to the range.
    return comparePositions(this.#reached, to) >= 0 || (span !== undefined && span.epoch > to.epoch);
  }
}

/** A record holds commits above its `from` up to its `to`. */
function begins(from: Start, { timestampMs, span }: RecordPlace): boolean {
  if (from.kind === 'any') return true;
  if (from.kind === 'time') return timestampMs >= from.timeMs;
  return span !== undefined && comparePositions({ epoch: span.epoch, lsn: span.to }, from) >= 0;
}

/** Commit positions of a record that belong to the range: above `above`, up to `upTo`. */
export function commitsWithin(range: Range, span: Span): { readonly above: Lsn; readonly upTo: Lsn } {
  const { from, to } = range;
  return {
    above: from.kind === 'position' && from.epoch === span.epoch ? from.lsn - 1 : -1,
    upTo: to.kind === 'position' && to.epoch === span.epoch ? to.lsn : Number.MAX_SAFE_INTEGER,
  };
}
