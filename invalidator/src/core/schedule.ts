/** What there is to publish, and since when nothing was. */
export interface Due {
  /** Changes wait. */
  readonly dirty: boolean;
  /** A heartbeat came through the WAL, or a new visible position or covers must be told. */
  readonly news: boolean;
  /** The stream has moved on, but brought nothing for us. */
  readonly moved: boolean;
  /** Since the last record was begun, ms. */
  readonly idleMs: number;
}

/** How closely records may follow one another, ms. */
export interface Pace {
  /** With changes: under load they gather this long, when idle they are sent at once. */
  readonly lingerMs: number;
  /** With nothing but a position. */
  readonly moveMs: number;
}

/** How long to wait before the next record, ms; undefined when there is nothing to send. */
export function publishDelayMs(due: Due, pace: Pace): number | undefined {
  if (due.dirty || due.news) return Math.max(0, pace.lingerMs - due.idleMs);
  if (due.moved) return Math.max(0, pace.moveMs - due.idleMs);
  return undefined;
}
