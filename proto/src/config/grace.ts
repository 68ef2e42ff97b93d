import { z } from 'zod';
import { duration, SECOND_MS } from './quantities.ts';

const DAY_MS = 86_400 * SECOND_MS;

/** What becomes of an entry that a change invalidates. */
export const onInvalidate = z
  .enum(['evict', 'stale'])
  .default('evict')
  .describe('stale keeps it aside for a while, for callers who would rather have an old value than none.');

/** When an entry that was invalidated may still be shown. It is never counted as coherent. */
export const grace = z.strictObject({
  for: duration('1s to 1d', { min: SECOND_MS, max: DAY_MS })
    .prefault('1m')
    .describe('How long after its invalidation.'),
  serve: z
    .enum(['on-request', 'on-error', 'always'])
    .default('on-request')
    .describe(
      'on-request: to callers who say Cache-Control: max-stale. on-error: also where it cannot be loaded anew. always: to everybody, while it is loaded anew.',
    ),
});
