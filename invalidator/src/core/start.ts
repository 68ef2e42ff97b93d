import type { Lsn } from '@tidemark/proto';

/** The newest record of the topic, as far as a start needs it. */
export interface LastRecord {
  readonly epoch: number;
  readonly to: Lsn;
  readonly visible: Lsn;
  readonly systemId: bigint;
  readonly timeline: number;
}

/** The server as it is now. */
export interface ServerIdentity {
  readonly systemId: bigint;
  readonly timeline: number;
  /** pg_current_wal_insert_lsn(). */
  readonly insertLsn: Lsn;
}

/** What is known of the replication slot. */
export type SlotFacts =
  | { readonly state: 'missing' }
  /** It can deliver everything above `confirmed`. */
  | { readonly state: 'usable'; readonly confirmed: Lsn }
  /** It cannot deliver any more; `why` in words for the log. */
  | { readonly state: 'lost'; readonly why: string };

/** Why a stream could not be continued; a label of the metric too. */
export type EpochReason =
  | 'empty-topic'
  | 'unreadable-topic'
  | 'other-server'
  | 'other-timeline'
  | 'server-went-back'
  | 'slot-missing'
  | 'slot-lost'
  | 'slot-ahead';

export type StartDecision =
  | { readonly kind: 'continue'; readonly epoch: number; readonly from: Lsn; readonly visible: Lsn }
  | { readonly kind: 'new-epoch'; readonly epoch: number; readonly reason: EpochReason };

/**
 * Whether the stream that the topic holds can be continued from the slot without a hole (SPEC I2). It can
 * iff the server is the one that was read, still has all WAL that was announced, and its slot delivers everything after
 * the newest record.
 *
 * The slot is confirmed only up to what is visible, so whatever lies in (visible, to] of the newest record is delivered
 * again: its changes are skipped, its transactions checked.
 *
 * @param last undefined for an empty topic, 'unreadable' when its newest record is none of ours
 * @param nowMs makes the number of a new epoch larger than every earlier one, also after the topic was emptied
 */
export function decideStart(options: {
  last: LastRecord | 'unreadable' | undefined;
  server: ServerIdentity;
  slot: SlotFacts;
  nowMs: number;
}): StartDecision {
  const { last, server, slot, nowMs } = options;
  const reason = reasonForNewEpoch(last, server, slot);
  if (reason !== undefined || last === undefined || last === 'unreadable') {
    const previous = typeof last === 'object' ? last.epoch : 0;
    return { kind: 'new-epoch', epoch: Math.max(previous + 1, nowMs), reason: reason ?? 'empty-topic' };
  }
  // A confirmed position was visible when it was confirmed, even where no record came to say so any more.
  const confirmed = slot.state === 'usable' ? slot.confirmed : 0;
  return { kind: 'continue', epoch: last.epoch, from: last.to, visible: Math.max(last.visible, confirmed) };
}

function reasonForNewEpoch(
  last: LastRecord | 'unreadable' | undefined,
  server: ServerIdentity,
  slot: SlotFacts,
): EpochReason | undefined {
  if (last === undefined) return 'empty-topic';
  if (last === 'unreadable') return 'unreadable-topic';
  if (last.systemId !== server.systemId) return 'other-server';
  if (last.timeline !== server.timeline) return 'other-timeline';
  if (last.to > server.insertLsn) return 'server-went-back';
  if (slot.state === 'missing') return 'slot-missing';
  if (slot.state === 'lost') return 'slot-lost';
  return slot.confirmed > last.to ? 'slot-ahead' : undefined;
}
