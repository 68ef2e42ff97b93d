import type { Entry, NamespaceConfig } from '@tidemark/proto';

/** What a value's own `Cache-Control` says of it (RFC 9111 section 5.2.2, RFC 5861), in milliseconds; undefined where it says nothing. */
export interface Lifetime {
  readonly maxAgeMs?: number | undefined;
  readonly staleWhileRevalidateMs?: number | undefined;
  readonly staleIfErrorMs?: number | undefined;
}

/** What a caller accepts (RFC 9111 section 5.2.1, RFC 5861), in milliseconds. */
export interface Accepts {
  /** Longest time since the value was stored. */
  readonly maxAgeMs: number;
  /** How long it must stay fresh from now on. */
  readonly minFreshMs: number;
  /** How long ago it may have stopped being fresh, or have been invalidated. */
  readonly maxStaleMs: number;
  /** The same where the value cannot be loaded anew; undefined for as long as the namespace allows, negative infinity for never. */
  readonly staleIfErrorMs: number | undefined;
  /** False where the answer must be coherent, so that no value in grace may be given: sessions, least positions, snapshots. */
  readonly grace: boolean;
}

/** Of a caller who says nothing. */
export const USUAL: Accepts = {
  maxAgeMs: Number.POSITIVE_INFINITY,
  minFreshMs: 0,
  maxStaleMs: 0,
  staleIfErrorMs: undefined,
  grace: true,
};

/** When an entry stops being fresh, being served, and being kept for errors; wall clock, ms. */
export type Times = Pick<Entry, 'storedAtMs' | 'freshUntilMs' | 'expiresAtMs' | 'keepUntilMs'>;

/**
 * The times of a value that is stored now. What the value says shortens what the namespace allows and never lengthens it: where
 * it names an age without `stale-while-revalidate`, it is not served beyond that age.
 *
 * @param options.fraction of the jitter that is taken off, from 0 to 1
 */
export function timesOf(
  ttl: NamespaceConfig['ttl'],
  options: { absent: boolean; said: Lifetime; storedAtMs: number; fraction: number },
): Times {
  const { absent, said, storedAtMs } = options;
  const part = 1 - ttl.jitter * options.fraction;
  const longestMs = (absent ? ttl.negative : ttl.hard) * part;
  const softMs = absent ? longestMs : (ttl.soft ?? ttl.hard) * part;
  const freshMs = Math.min(softMs, said.maxAgeMs ?? softMs);
  const windowMs = said.staleWhileRevalidateMs ?? (said.maxAgeMs === undefined ? longestMs - freshMs : 0);
  const hardMs = Math.min(longestMs, freshMs + windowMs);
  const keepMs =
    said.staleIfErrorMs === undefined
      ? hardMs + ttl.staleIfError
      : Math.min(freshMs + said.staleIfErrorMs, longestMs + ttl.staleIfError);
  const at = (ms: number): number => storedAtMs + Math.max(1, Math.floor(ms));
  return {
    storedAtMs,
    freshUntilMs: at(freshMs),
    expiresAtMs: at(hardMs),
    keepUntilMs: at(absent ? hardMs : Math.max(hardMs, keepMs)),
  };
}

/**
 * The times of an entry that another sidecar stored, cut to what this namespace allows: the configuration may have been another
 * there.
 */
export function cutTimes(entry: Entry, ttl: NamespaceConfig['ttl']): Entry {
  const { storedAtMs, absent } = entry;
  const latestMs = storedAtMs + (absent ? ttl.negative : ttl.hard);
  const softMs = storedAtMs + (absent ? ttl.negative : (ttl.soft ?? ttl.hard));
  const lastMs = latestMs + (absent ? 0 : ttl.staleIfError);
  if (entry.freshUntilMs <= softMs && entry.expiresAtMs <= latestMs && entry.keepUntilMs <= lastMs) return entry;
  return {
    ...entry,
    freshUntilMs: Math.min(entry.freshUntilMs, softMs),
    expiresAtMs: Math.min(entry.expiresAtMs, latestMs),
    keepUntilMs: Math.min(entry.keepUntilMs, lastMs),
  };
}

/**
 * What an entry that nothing has invalidated is worth to a caller. `fresh`: the answer. `aging`: the answer, and it should be
 * loaded anew. `stale`: beyond its hard TTL, but the caller takes it. `refused`: not what this caller takes.
 */
export type Worth = 'fresh' | 'aging' | 'stale' | 'refused';

/** RFC 9111 section 4.2 and 5.2.1. */
export function worthOf(entry: Times, accepts: Accepts, wallMs: number): Worth {
  const { storedAtMs, freshUntilMs, expiresAtMs, keepUntilMs } = entry;
  if (wallMs - storedAtMs > accepts.maxAgeMs + accepts.maxStaleMs) return 'refused';
  if (accepts.minFreshMs > 0 && freshUntilMs - wallMs < accepts.minFreshMs) return 'refused';
  if (wallMs < freshUntilMs) return 'fresh';
  if (wallMs < expiresAtMs) return 'aging';
  return wallMs < keepUntilMs && wallMs - freshUntilMs <= accepts.maxStaleMs ? 'stale' : 'refused';
}

/** Whether an entry that nothing has invalidated may stand in for one that could not be loaded (RFC 5861 section 4). */
export function mayStandIn({ freshUntilMs, keepUntilMs }: Times, accepts: Accepts, wallMs: number): boolean {
  return wallMs < keepUntilMs && wallMs - freshUntilMs <= (accepts.staleIfErrorMs ?? Number.POSITIVE_INFINITY);
}
