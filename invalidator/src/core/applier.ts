import { classify } from '@tidemark/proto';
import type { LogHeader, LogReply } from '@tidemark/proto/redis';
import type { Group } from './applier-groups.ts';

/** Why a generation of a log begins. */
export type BeginReason =
  /** There is no log: a first start, a flushed Redis, or the log was evicted. */
  | 'missing'
  /** Its fences were evicted. */
  | 'damaged'
  /** The stream began anew. */
  | 'epoch'
  /** Kafka's own chain of records has a gap. */
  | 'gap'
  /** Kafka no longer has what the log would need next. */
  | 'lost'
  /** A record that cannot be read, or that was written for newer readers. */
  | 'unreadable';

/** What is known of the log of one bucket. */
export interface LogView {
  /** The header as it stands in Redis, '' when there is none. */
  readonly text: string;
  readonly header: LogHeader | undefined;
  /** The log cannot go on, whatever its header says. */
  readonly broken: 'damaged' | 'unreadable' | undefined;
}

/** Where the reader of Kafka stands. */
export interface ReadState {
  /** Offset of the record read just before; undefined when reading has only begun here. */
  readonly previousOffset: number | undefined;
  /** Whether reading began here because Kafka no longer had the place where it was to begin. */
  readonly isAfterReset: boolean;
  /** How many records of an epoch older than a log's were read, with none of its own or a later one between them. */
  readonly older: number;
}

/**
 * A publisher that was replaced writes a record or two before it notices. So many mean that the newer epoch is gone from
 * Kafka (which lost what it had acknowledged, or a topic that was made anew), and the older one is what there is.
 */
export const MAX_OLDER = 10;

/** What is to be done with a log for a group of records. */
export type Action =
  | { readonly kind: 'skip' }
  /** The records say nothing new, but for `visible` and the offset. */
  | { readonly kind: 'touch'; readonly header: LogHeader }
  /** The records are of an older epoch: only the offset moves, or a gap behind them would be taken for one of the log. */
  | { readonly kind: 'pass'; readonly header: LogHeader }
  | { readonly kind: 'apply'; readonly header: LogHeader }
  /** Another set of namespaces is applied from here on; then decide again. */
  | { readonly kind: 'adopt'; readonly header: LogHeader }
  | { readonly kind: 'begin'; readonly reason: BeginReason }
  /** The log went back in time: read Kafka again from there. */
  | { readonly kind: 'seek'; readonly offset: number };

/** Total; pure. Beginning a generation is always safe and costs misses, so it answers every doubt (SPEC I7). */
export function decide(view: LogView, group: Group, read: ReadState): Action {
  const { header, broken } = view;
  if (header === undefined) return { kind: 'begin', reason: 'missing' };
  if (broken !== undefined) return { kind: 'begin', reason: broken };
  switch (classify({ epoch: header.epoch, applied: header.to }, group)) {
    case 'stale-epoch':
      if (read.older >= MAX_OLDER) return { kind: 'begin', reason: 'epoch' };
      return group.nextOffset > Number(header.offset) ? { kind: 'pass', header } : { kind: 'skip' };
    case 'new-epoch':
      return { kind: 'begin', reason: 'epoch' };
    case 'duplicate':
      return group.visible > header.visible || group.nextOffset > Number(header.offset)
        ? { kind: 'touch', header }
        : { kind: 'skip' };
    case 'gap':
      return decideGap(header, read);
    case 'next':
      if (group.isTooNew) return { kind: 'begin', reason: 'unreadable' };
      return group.applied.digest === header.digest ? { kind: 'apply', header } : { kind: 'adopt', header };
  }
}

/** Records between the log and the group are missing: does Kafka have them? */
function decideGap(header: LogHeader, { previousOffset, isAfterReset }: ReadState): Action {
  const next = Number(header.offset);
  if (previousOffset !== undefined && previousOffset >= next) return { kind: 'seek', offset: next };
  return { kind: 'begin', reason: isAfterReset ? 'lost' : 'gap' };
}

/** What is known of a log after an answer of Redis. */
export function viewOf(reply: LogReply): LogView {
  const { text, header, status } = reply;
  return { text, header, broken: status === 'damaged' ? 'damaged' : undefined };
}

/** A record cannot be read: logs that have not got beyond it cannot go on. */
export function afterUnreadable(view: LogView, offset: number): LogView {
  return view.header !== undefined && Number(view.header.offset) <= offset ? { ...view, broken: 'unreadable' } : view;
}

/** Where reading must begin so that no log misses a record; undefined when there is no log, so that it may begin anywhere. */
export function startOffset(views: readonly LogView[]): number | undefined {
  const offsets = views.flatMap(({ header }) => (header === undefined ? [] : [Number(header.offset)]));
  return offsets.length === 0 ? undefined : Math.min(...offsets);
}
