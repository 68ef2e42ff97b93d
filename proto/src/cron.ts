import { Cron } from 'croner';

/** Five fields of cron (minute, hour, day of the month, month, day of the week) and the time zone whose clock they mean. */
export interface CronTime {
  readonly cron: string;
  /** As in the IANA database. */
  readonly timezone: string;
}

/**
 * When it is due next after a moment, both in milliseconds since 1970; undefined where it never is, as on February 30. An hour that a clock
 * leaves out in spring is taken for the next one, and of one that comes twice only the first counts. Throws an Error for what is no
 * expression or no time zone.
 */
export function nextCronMs({ cron, timezone }: CronTime, afterMs: number): number | undefined {
  // Without a function to call it only computes.
  return new Cron(cron, { timezone, mode: '5-part', paused: true }).nextRun(new Date(afterMs))?.getTime();
}
