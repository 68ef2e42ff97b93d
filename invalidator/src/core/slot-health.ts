/** Why a slot delivers nothing any more: the server's reasons, and ours. A label of a metric. */
export const SLOT_LOSSES = [
  'wal_removed',
  'rows_removed',
  'wal_level_insufficient',
  'idle_timeout',
  'never_completed',
  'given_up',
  'other',
] as const;
export type SlotLoss = (typeof SLOT_LOSSES)[number];

/** Values of pg_replication_slots.wal_status, and one for what a later Postgres may add. */
export const WAL_STATUSES = ['reserved', 'extended', 'unreserved', 'lost', 'unknown'] as const;
export type WalStatus = (typeof WAL_STATUSES)[number];

/** How the slot that is being streamed from fares. */
export interface SlotHealth {
  readonly walStatus: WalStatus;
  /** WAL that may still be written before the slot can be lost, bytes; undefined where there is no limit. */
  readonly safeWalBytes: number | undefined;
  /** WAL after the confirmed position, bytes. */
  readonly lagBytes: number;
  /** WAL that the server keeps for the slot, bytes. */
  readonly retainedBytes: number;
  /** The walsender waits for a standby of `synchronized_standby_slots` (17 and later) before it sends anything. */
  readonly heldBack: boolean;
  /** Standbys may take the slot over; undefined before 17. */
  readonly failover: boolean | undefined;
}

/** A walsender that is held back for longer than this, ms, is worth a word: sidecars hear nothing meanwhile. */
export const HELD_BACK_MS = 3000;

/**
 * What a person should know, if anything.
 * @param heldBackMs for how long the walsender has been held back
 */
export function slotComplaint({ walStatus }: SlotHealth, heldBackMs: number): string | undefined {
  if (heldBackMs >= HELD_BACK_MS)
    return 'Postgres sends no changes until the standbys of synchronized_standby_slots have them: one of them is away or slow';
  return COMPLAINTS[walStatus];
}

const COMPLAINTS: Readonly<Record<WalStatus, string | undefined>> = {
  reserved: undefined,
  extended: 'the slot keeps more WAL than max_wal_size: the invalidator or Kafka does not keep up',
  unreserved:
    'the slot keeps more WAL than max_slot_wal_keep_size and is lost at the next checkpoint, which begins a new epoch',
  lost: 'the slot is lost: its WAL was removed',
  unknown: undefined,
};
