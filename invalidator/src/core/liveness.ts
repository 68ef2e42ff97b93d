/** Silence, ms, after which the stream is looked into. Heartbeats go out once a second. */
export const SILENCE_MS = 10_000;

/** What the server says of the walsender that serves us; undefined when it has none. */
export interface WalSender {
  /** pg_stat_activity.wait_event; null while it computes. */
  readonly waitEvent: string | null;
}

/**
 * Whether a silent stream is dead. A walsender that decodes a large transaction for other tables sends nothing for as
 * long as it takes, and starting it again would only begin that work again. One that waits for new WAL, or for its
 * client, has nothing to do or no way to tell us: then the connection is dead.
 */
export function isStreamDead(silentMs: number, sender: WalSender | undefined): boolean {
  if (silentMs < SILENCE_MS) return false;
  if (sender === undefined) return true;
  return sender.waitEvent !== null && IDLE_EVENTS.has(sender.waitEvent);
}

/** Names before and since Postgres 17. */
const IDLE_EVENTS = new Set([
  'WalSenderMain',
  'WalSenderWaitForWal',
  'WalSenderWaitForWAL',
  'WalSenderWriteData',
  'ClientRead',
  'ClientWrite',
]);
