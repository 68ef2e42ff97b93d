import type { Lsn } from '@tidemark/proto';
import type { TimelineHistory } from './timeline.ts';

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
  | {
      readonly state: 'usable';
      readonly confirmed: Lsn;
      /** It is the server's own copy of the slot of the primary before it (failover and synced, not temporary). */
      readonly synced?: boolean;
    }
  /** It cannot deliver any more; `why` in words for the log. */
  | { readonly state: 'lost'; readonly why: string };

/** Why a stream could not be continued; a label of the metric too. */
export type EpochReason =
  | 'empty-topic'
  | 'unreadable-topic'
  | 'other-server'
  /** The server is on another timeline, and does not say which ones that descends from. */
  | 'unknown-history'
  /** The timeline of the newest record is none of the server's ancestors: an old primary, or another branch. */
  | 'other-history'
  /** A promotion lost commits that had been announced. */
  | 'commits-lost'
  | 'server-went-back'
  | 'slot-missing'
  | 'slot-lost'
  /** A promoted server has a slot that nobody kept in step with the primary's. */
  | 'slot-not-synced'
  | 'slot-ahead';

/** What a person wants to know of each reason. */
export const EPOCH_REASONS: Readonly<Record<EpochReason, string>> = {
  'empty-topic': 'the topic holds no record',
  'unreadable-topic': 'the newest record of the topic cannot be read',
  'other-server': 'this is another database system than the one that was followed',
  'unknown-history': 'the server is on another timeline, and its history file does not say since where',
  'other-history': "the server's history does not hold the timeline of the newest record",
  'commits-lost': 'a promotion lost commits that had been announced',
  'server-went-back': 'the server has less WAL than was announced',
  'slot-missing': 'the slot is not there',
  'slot-lost': 'the slot cannot deliver any more',
  'slot-not-synced': 'the promoted server has a slot that was not synced from the primary before it',
  'slot-ahead': 'the slot was confirmed beyond what was announced',
};

/** Where the stream goes on: at the end of the newest record, and what was visible by then. */
type Resumption = { readonly from: Lsn; readonly visible: Lsn };

export type StartDecision =
  | ({ readonly kind: 'continue'; readonly epoch: number } & Resumption)
  /** The slot came over from the primary before: the stream goes on from it, under a new epoch. */
  | ({ readonly kind: 'take-over'; readonly epoch: number; readonly switchedAt: Lsn } & Resumption)
  /** A new slot, and a new epoch. */
  | { readonly kind: 'new-epoch'; readonly epoch: number; readonly reason: EpochReason };

/**
 * Whether the stream that the topic holds can be continued from the slot without a hole (SPEC I2). It can
 * iff the server has all WAL that was announced in its history, and its slot delivers everything after the newest record.
 *
 * After a promotion that is so iff the record's timeline was left at or after the record's end: what was announced then
 * belongs to the new timeline too. The epoch is a new one even so (SPEC I10): clients may have cached commits of the
 * old timeline that nobody announced, and a record that the publisher before had sent may reach Kafka after this look at
 * it, with positions that the new timeline uses for other commits (test/model has both as counterexamples). The slot spares
 * the wait for every open transaction that a new one takes.
 *
 * The slot is confirmed only up to what is visible, so whatever lies in (visible, to] of the newest record is delivered
 * again: its changes are skipped, its transactions checked.
 *
 * @param last undefined for an empty topic, 'unreadable' when its newest record is none of ours
 * @param history whom the server's timeline descends from; unknown where it is left out
 * @param nowMs makes the number of a new epoch larger than every earlier one, also after the topic was emptied
 */
export function decideStart(options: {
  last: LastRecord | 'unreadable' | undefined;
  server: ServerIdentity;
  slot: SlotFacts;
  history?: TimelineHistory;
  nowMs: number;
}): StartDecision {
  const { last, nowMs } = options;
  const newEpoch = Math.max((typeof last === 'object' ? last.epoch : 0) + 1, nowMs);
  const verdict = judge(options);
  if (typeof verdict === 'string') return { kind: 'new-epoch', epoch: newEpoch, reason: verdict };
  const { epoch, to: from, confirmed, switchedAt } = verdict;
  // A confirmed position was visible when it was confirmed, even where no record came to say so any more.
  const visible = Math.max(verdict.visible, confirmed);
  if (switchedAt === undefined) return { kind: 'continue', epoch, from, visible };
  return { kind: 'take-over', epoch: newEpoch, from, visible, switchedAt };
}

type Continuation = LastRecord & { readonly confirmed: Lsn; readonly switchedAt: Lsn | undefined };

function judge({ last, server, slot, history }: Parameters<typeof decideStart>[0]): EpochReason | Continuation {
  if (last === undefined) return 'empty-topic';
  if (last === 'unreadable') return 'unreadable-topic';
  if (last.systemId !== server.systemId) return 'other-server';
  const switchedAt = last.timeline === server.timeline ? undefined : switchOf(last, history);
  if (typeof switchedAt === 'string') return switchedAt;
  if (last.to > server.insertLsn) return 'server-went-back';
  if (slot.state === 'missing') return 'slot-missing';
  if (slot.state === 'lost') return 'slot-lost';
  if (slot.confirmed > last.to) return 'slot-ahead';
  // A slot that somebody copied by other means may have lost catalog rows that decoding needs.
  if (switchedAt !== undefined && !slot.synced) return 'slot-not-synced';
  return { ...last, confirmed: slot.confirmed, switchedAt };
}

/** Where the record's timeline was left on the way to the server's. */
function switchOf(last: LastRecord, history: TimelineHistory = { unknown: '' }): Lsn | EpochReason {
  if ('unknown' in history) return 'unknown-history';
  const left = history.find(({ timeline }) => timeline === last.timeline);
  if (left === undefined) return 'other-history';
  return last.to > left.end ? 'commits-lost' : left.end;
}
