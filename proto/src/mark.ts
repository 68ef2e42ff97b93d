import { utf8Length } from './utf8.ts';

/**
 * Prefix of a transactional `pg_logical_emit_message` that tells readers of the stream where its transaction was committed.
 * A mark invalidates nothing, and whoever waits for one must be right without it too: those that are not well-formed, or too
 * many, are left out, and a reader that begins later never hears of it.
 */
export const MARK_PREFIX = 'tidemark.mark';

/** How many marks of one transaction are told, and how long each may be. */
export const MARK_LIMITS = { perTransaction: 16, textBytes: 256 } as const;

/** Whether a text can be told as a mark: 1 to 256 bytes of UTF-8. */
export function isMark(text: string): boolean {
  return text !== '' && text.isWellFormed() && utf8Length(text) <= MARK_LIMITS.textBytes;
}
