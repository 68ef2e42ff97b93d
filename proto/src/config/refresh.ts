import { z } from 'zod';

/** When values are loaded anew before readers find them missing. */
export const refresh = z.strictObject({
  early: z
    .number()
    .min(0)
    .max(10)
    .default(1)
    .describe(
      'How eagerly values are refreshed before they stop being fresh (beta of XFetch); 0: not before. Only with load or ttl.soft.',
    ),
  ahead: z
    .int()
    .min(0)
    .max(1_000)
    .default(0)
    .describe(
      'So many of the hottest keys are loaded as soon as a change evicts them, before anybody asks. Needs load.',
    ),
});
