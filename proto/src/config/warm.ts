import { z } from 'zod';
import { nextCronMs } from '../cron.ts';
import { duration, rate, SECOND_MS } from './quantities.ts';
import { show } from './show.ts';

const MINUTE_MS = 60 * SECOND_MS;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Keys of one warming, from wherever they are. */
export const MAX_WARM_KEYS = 100_000;

const CRON_CHARS = 100;
const ZONE_CHARS = 64;
const EXPECTED_CRON = 'expected minute, hour, day of the month, month and day of the week, such as "0 6 * * 1-5"';

const settings = z.strictObject({
  atStart: z
    .int()
    .min(0)
    .max(MAX_WARM_KEYS)
    .default(1_000)
    .describe(
      'So many of the keys that sidecars read most are warmed when a pod starts. Needs Redis, whose list holds 10000; 0: none.',
    ),
  every: duration('1m to 30d', { min: MINUTE_MS, max: 30 * DAY_MS })
    .optional()
    .describe('How often they are warmed again, or what sql answers; a tenth more or less, so that pods differ.'),
  cron: z
    .string()
    .max(CRON_CHARS)
    .optional()
    .describe('The same at times of the day, within half a minute: the five fields of cron, such as 0 6 * * 1-5.'),
  timezone: z
    .string()
    .max(ZONE_CHARS)
    .optional()
    .describe('Whose clock cron goes by, such as Europe/Berlin. Default: UTC.'),
  sql: z
    .string()
    .min(1)
    .max(10_000)
    .optional()
    .describe('A query of one column, the keys to be warmed. It runs in the database of TIDEMARK_LOAD_URL.'),
  most: z
    .int()
    .min(1)
    .max(MAX_WARM_KEYS)
    .default(10_000)
    .describe('Most keys that a request, a schedule or sql warms at once; the others are left out.'),
  rate: rate('1/s to 10000/s', { min: 1, max: 10_000 }).prefault('200/s').describe('Keys a second.'),
  concurrency: z
    .int()
    .min(1)
    .max(64)
    .default(4)
    .describe('Keys at a time; one, and four a second, while requests wait.'),
});

/** What is read into memory before anybody asks. */
export const warm = settings.superRefine((value, context) => {
  const { every, cron, timezone } = value;
  const refuse = (path: keyof typeof value, message: string): void =>
    context.addIssue({ code: 'custom', path: [path], message });
  if (every !== undefined && cron !== undefined) refuse('cron', 'found it beside every, expected one of the two');
  if (timezone !== undefined && cron === undefined)
    refuse('timezone', `found ${show(timezone)} without cron, expected none: every goes by no clock`);
  if (timezone !== undefined && !isZone(timezone)) {
    refuse('timezone', `found ${show(timezone)}, expected a time zone of the IANA database, such as Europe/Berlin`);
    return;
  }
  if (cron === undefined) return;
  try {
    if (nextCronMs({ cron, timezone: timezone ?? 'UTC' }, 0) === undefined)
      refuse('cron', `found ${show(cron)}, expected times that come: there is no such day`);
  } catch (error) {
    refuse('cron', `found ${show(cron)}, ${EXPECTED_CRON} (${(error as Error).message})`);
  }
});

function isZone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

export type WarmConfig = z.output<typeof warm>;

/** Of namespaces that say nothing, when somebody asks for a warming all the same. */
export const warmDefaults: WarmConfig = warm.parse({});
