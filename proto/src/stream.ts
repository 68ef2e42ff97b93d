import type { Lsn } from './lsn.ts';

/** Where a consumer stands in a source's stream. */
export interface Position {
  readonly epoch: number;
  readonly applied: Lsn;
}

/** The part of a record that says where it belongs. */
export interface Span {
  readonly epoch: number;
  readonly from: Lsn;
  readonly to: Lsn;
}

/**
 * What a record means to a consumer (SPEC I1, I10):
 * - `next`: continues the chain, apply it;
 * - `duplicate`: all of it was applied before; only its `visible` may be news;
 * - `gap`: something before it is missing: flush everything at `to`;
 * - `new-epoch`: continuity ended here: flush everything and begin at `to`;
 * - `stale-epoch`: written by a publisher that was already replaced: ignore.
 */
export type Step = 'next' | 'duplicate' | 'gap' | 'new-epoch' | 'stale-epoch';

/** Total over its arguments, O(1). */
export function classify(at: Position, record: Span): Step {
  if (record.epoch > at.epoch) return 'new-epoch';
  if (record.epoch < at.epoch) return 'stale-epoch';
  if (record.to <= at.applied) return 'duplicate';
  return record.from > at.applied ? 'gap' : 'next';
}
