import type { Span } from '@tidemark/proto';
import { comparePositions, type StreamPosition } from './range.ts';

/** A record at or behind the place that was asked for. */
export interface Probe {
  readonly offset: number;
  /** Undefined where it cannot be read. */
  readonly span: Span | undefined;
}

/** The first record at or behind an offset; undefined when there is none. */
export type ProbeAt = (offset: number) => Promise<Probe | undefined>;

/** So many records that say nothing (written by a replaced publisher, or unreadable) are passed over at one place. */
const MAX_PASSED = 256;

/**
 * An offset at or before the first record that holds commits at or above a position, near it: reading from there misses
 * none of them. O(log n) probes.
 *
 * Positions grow with the offsets, but for what a replaced publisher or a repeated send has written in between. A record
 * that reaches over the position is a sound place for all that: what follows it in the chain is everything above (SPEC I1).
 * So from where the search ends it goes back to such a record, but not for ever: there is none where the position lies in a
 * gap or before its epoch.
 */
export async function searchPosition(
  wanted: StreamPosition,
  bounds: { readonly earliest: number; readonly next: number },
  probe: ProbeAt,
): Promise<number> {
  const readableFrom = async (first: number, end: number): Promise<Probe | undefined> => {
    for (let offset = first, passed = 0; offset < end && passed < MAX_PASSED; passed++) {
      const found = await probe(offset);
      if (found === undefined || found.offset >= end) return undefined;
      if (found.span !== undefined) return found;
      offset = found.offset + 1;
    }
    return undefined;
  };
  let low = bounds.earliest;
  let high = bounds.next;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const found = await readableFrom(middle, high);
    if (found?.span !== undefined && comparePositions({ epoch: found.span.epoch, lsn: found.span.to }, wanted) < 0)
      low = found.offset + 1;
    else high = middle;
  }
  return backToChain(low, { wanted, earliest: bounds.earliest, probe });
}

async function backToChain(
  found: number,
  options: { readonly wanted: StreamPosition; readonly earliest: number; readonly probe: ProbeAt },
): Promise<number> {
  const { wanted, earliest, probe } = options;
  for (let offset = found, passed = 0; offset > earliest; offset--, passed++) {
    const span = (await probe(offset))?.span;
    if (span !== undefined && span.epoch === wanted.epoch && span.from < wanted.lsn && wanted.lsn <= span.to)
      return offset;
    // The position lies in a gap, or before its epoch: there is no such record.
    if (passed >= MAX_PASSED) return offset;
  }
  return earliest;
}
