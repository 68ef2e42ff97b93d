import { z } from 'zod';
import { duration, rate, SECOND_MS } from './quantities.ts';

const MINUTE_MS = 60 * SECOND_MS;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Keys of one warming, from wherever they are. */
export const MAX_WARM_KEYS = 100_000;

/** What is read into memory before anybody asks. */
export const warm = z.strictObject({
  atStart: z
    .int()
    .min(0)
    .max(MAX_WARM_KEYS)
    .default(1_000)
    .describe('So many of the keys that sidecars read most are warmed when a pod starts. Needs Redis; 0: none.'),
  every: duration('1m to 30d', { min: MINUTE_MS, max: 30 * DAY_MS })
    .optional()
    .describe('How often they are warmed again, or what sql answers; a tenth more or less, so that pods differ.'),
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

export type WarmConfig = z.output<typeof warm>;

/** Of namespaces that say nothing, when somebody asks for a warming all the same. */
export const warmDefaults: WarmConfig = warm.parse({});
