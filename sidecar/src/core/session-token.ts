import { MAX_LSN, type Lsn } from '@tidemark/proto';

/** What a session has seen of one source. */
export interface Seen {
  /** 0 for a session that has seen nothing. */
  readonly epoch: number;
  readonly lsn: Lsn;
  /**
   * The session may have seen more than `lsn` says: a miss sent it to the database, or a value was served whose newest change
   * nobody knew. Names the lease whose fill tells how far that was, or {@link ANYTHING}.
   */
  readonly pending: string | undefined;
}

/** Only a position that is asked for afterwards tells how far the session has seen. */
export const ANYTHING = '*';
export const NOTHING_SEEN: Seen = { epoch: 0, lsn: 0, pending: undefined };

/** Stands for the source of whoever reads the token: a sidecar that does not know its own yet has answered. */
export const ANY_SOURCE = '*';

/** A session token, by source: those of other sources travel along untouched. */
export type SessionToken = ReadonlyMap<string, Seen>;

/** Limits of what callers send. */
const MAX_CHARS = 2048;
const MAX_TOKENS = 8;
const MAX_SOURCES = 16;
const PART = /^([a-z0-9][a-z0-9._-]{0,62}|\*)~([1-9]\d{0,15})~([0-9A-F]{1,14})(?:~(\*|[A-Za-z0-9_-]{1,64}))?$/;

/**
 * Reads one token, or several with commas between: a caller that had several answers at once need not know which is later.
 * '' and `new` begin a session. Throws a RangeError for anything else.
 */
export function parseSession(text: string): SessionToken {
  const token = new Map<string, Seen>();
  if (text.length > MAX_CHARS) throw new RangeError(`expected at most ${MAX_CHARS} characters`);
  const each = text.split(',').map((one) => one.trim());
  if (each.length > MAX_TOKENS) throw new RangeError(`expected at most ${MAX_TOKENS} tokens`);
  for (const one of each) {
    if (one === '' || one === 'new') continue;
    if (!one.startsWith('1~')) throw malformed();
    for (const part of one.slice(2).split('~~')) {
      const [source, seen] = parsePart(part);
      token.set(source, both(token.get(source) ?? NOTHING_SEEN, seen));
      if (token.size > MAX_SOURCES) throw new RangeError(`expected at most ${MAX_SOURCES} sources`);
    }
  }
  return token;
}

/** ASCII letters, digits, `-`, `.`, `_`, `~` and `*`; `new` for a session that has seen nothing. */
export function formatSession(token: SessionToken): string {
  const parts = [...token]
    .filter(([, { epoch, pending }]) => epoch > 0 || pending !== undefined)
    .map(([source, { epoch, lsn, pending }]) =>
      [source, Math.max(1, epoch), lsn.toString(16).toUpperCase(), ...(pending === undefined ? [] : [pending])].join(
        '~',
      ),
    );
  return parts.length === 0 ? 'new' : `1~${parts.join('~~')}`;
}

/** What is seen by whoever has seen both. Positions of an older epoch cannot be compared, so they are asked for. */
export function both(a: Seen, b: Seen): Seen {
  if (a.epoch !== b.epoch && a.epoch > 0 && b.epoch > 0) return { ...(a.epoch > b.epoch ? a : b), pending: ANYTHING };
  return {
    epoch: Math.max(a.epoch, b.epoch),
    lsn: Math.max(a.lsn, b.lsn),
    pending: bothPending(a.pending, b.pending),
  };
}

/** Two leases are more than one fill can answer for. */
export function bothPending(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined || a === b) return a ?? b;
  return ANYTHING;
}

function parsePart(part: string): [source: string, seen: Seen] {
  const [, source, epochText, lsnText, pending] = PART.exec(part) ?? [];
  const [epoch, lsn] = [Number(epochText), Number.parseInt(lsnText ?? '', 16)];
  if (source === undefined || !Number.isSafeInteger(epoch) || !(lsn <= MAX_LSN)) throw malformed();
  return [source, { epoch, lsn, pending }];
}

function malformed(): RangeError {
  return new RangeError('this is no token of a session; expected one that a sidecar gave, or "new"');
}
