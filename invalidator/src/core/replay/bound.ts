import { parseDurationMs, parseLsn, type Lsn } from '@tidemark/proto';

/** A place in the stream as a person names it; see {@link parseBound}. */
export type Bound =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' }
  /** A commit position; without an epoch that of the newest one. */
  | { readonly kind: 'position'; readonly epoch: number | undefined; readonly lsn: Lsn }
  /** When a record was written, ms since 1970. */
  | { readonly kind: 'time'; readonly timeMs: number };

const POSITION = /^(?:(\d+):)?([0-9A-Fa-f]+\/[0-9A-Fa-f]+)$/;
/** A date with a time needs its zone: a local time would mean something else on another machine. */
const ISO_TIME = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2}))?$/;

/**
 * Reads `earliest`, `latest`, `16/B374D848`, `3:16/B374D848`, `2026-01-31T12:00:00Z`, `2026-01-31` (midnight UTC) or a
 * duration before `nowMs` such as `2h`. Throws a RangeError that begins with "found".
 */
export function parseBound(text: string, nowMs: number): Bound {
  if (text === 'earliest' || text === 'latest') return { kind: text };
  const position = POSITION.exec(text);
  if (position !== null) {
    const epoch = position[1] === undefined ? undefined : Number(position[1]);
    if (epoch === undefined || Number.isSafeInteger(epoch))
      return { kind: 'position', epoch, lsn: parseLsn(position[2] as string) };
  }
  const agoMs = parseDurationMs(text);
  if (agoMs !== undefined) return { kind: 'time', timeMs: nowMs - agoMs };
  const timeMs = ISO_TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(timeMs)) return { kind: 'time', timeMs };
  throw new RangeError(
    `found ${JSON.stringify(text)}, expected earliest, latest, an LSN (16/B374D848), EPOCH:LSN (3:16/B374D848), a time with its zone (2026-01-31T12:00:00Z), or how long ago (2h)`,
  );
}
