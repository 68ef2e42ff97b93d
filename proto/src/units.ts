/** How a duration is written; groups: number, unit. */
export const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
/** Milliseconds of each unit of a {@link DURATION}. */
export const DURATION_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** How a size is written; groups: number, unit. */
export const SIZE = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB)$/;
/** Bytes of each unit of a {@link SIZE}. */
export const SIZE_BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
/** How a percentage is written; group: number. */
export const PERCENT = /^(\d+(?:\.\d+)?)%$/;

/** How a rate is written; group: number. */
export const RATE = /^(\d+(?:\.\d+)?)[/]s$/;

/** Milliseconds of `250ms`, `30s`, `5m`, `1.5h`, `1d`; undefined for anything else, or above a year. */
export function parseDurationMs(text: string): number | undefined {
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  const ms = Math.round(Number(match[1]) * (DURATION_MS[match[2] as string] as number));
  return ms <= 365 * 86_400_000 ? ms : undefined;
}

/** Bytes of `512B`, `4KiB`, `64MiB`, `1GiB`; undefined for anything else, or above 2^53. */
export function parseSizeBytes(text: string): number | undefined {
  const match = SIZE.exec(text);
  if (match === null) return undefined;
  const bytes = Math.round(Number(match[1]) * (SIZE_BYTES[match[2] as string] as number));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The fraction of `10%`, between 0 and 1; undefined for anything else. */
export function parsePercent(text: string): number | undefined {
  const match = PERCENT.exec(text);
  const fraction = match === null ? Number.NaN : Number(match[1]) / 100;
  return fraction <= 1 ? fraction : undefined;
}

/** Of `200/s`; undefined for anything else. */
export function parseRate(text: string): number | undefined {
  const match = RATE.exec(text);
  return match === null ? undefined : Number(match[1]);
}
