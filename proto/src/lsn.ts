/**
 * Log sequence numbers as safe integers. A double counts bytes of WAL exactly up to 2^53 (8 PiB), which a server that
 * writes 1 GB/s reaches after 285 years, and compares far faster than a bigint.
 */
export type Lsn = number;

/** Largest position that is still exact: `1FFFFF/FFFFFFFF`. */
export const MAX_LSN: Lsn = Number.MAX_SAFE_INTEGER;

const TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;

/** Reads an LSN as Postgres prints it (`16/B374D848`, padded or not). Throws a RangeError on anything else. */
export function parseLsn(text: string): Lsn {
  const match = TEXT.exec(text);
  if (match === null)
    throw new RangeError(`not an LSN: ${JSON.stringify(text)} (expected hex/hex, such as 16/B374D848)`);
  return checked(Number.parseInt(match[1] ?? '', 16) * 2 ** 32 + Number.parseInt(match[2] ?? '', 16), text);
}

/** Prints a position as Postgres does (`pg_lsn` output: upper-case hex, no padding before 18, none here). */
export function formatLsn(lsn: Lsn): string {
  const high = Math.floor(lsn / 2 ** 32);
  return `${high.toString(16).toUpperCase()}/${(lsn % 2 ** 32).toString(16).toUpperCase()}`;
}

/** Narrows a wire integer. Throws a RangeError above {@link MAX_LSN}. */
export function lsnFromBigInt(value: bigint): Lsn {
  return checked(Number(value), value.toString());
}

function checked(lsn: number, shown: string): Lsn {
  if (lsn > MAX_LSN)
    throw new RangeError(
      `LSN ${shown} is beyond 8 PiB of WAL (${formatLsn(MAX_LSN)}), the largest Tidemark counts exactly`,
    );
  return lsn;
}
