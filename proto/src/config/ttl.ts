import { z } from 'zod';
import { duration, percentage, ttlDuration, YEAR_MS } from './quantities.ts';

/** How long entries may be served. */
export const ttl = z
  .strictObject({
    soft: ttlDuration
      .optional()
      .describe(
        'An entry is fresh until then, and loaded anew in the background when it is read later. Default: hard.',
      ),
    hard: ttlDuration.prefault('30m').describe('An entry is never served longer than this after it was stored.'),
    negative: ttlDuration.prefault('30s').describe('The same for entries that say that the row does not exist.'),
    staleIfError: duration('0s to 365d', { min: 0, max: YEAR_MS })
      .prefault('0s')
      .describe('So long beyond hard an entry that nothing has changed is served where it cannot be loaded anew.'),
    jitter: percentage
      .prefault('10%')
      .describe('Shortens each TTL by a random part up to this, so that entries stored together do not end together.'),
  })
  .superRefine(({ soft, hard }, context) => {
    if (soft === undefined || soft <= hard) return;
    context.addIssue({
      code: 'custom',
      path: ['soft'],
      message: `found ${soft / 1000}s, expected at most ttl.hard (${hard / 1000}s): an entry is not served after that`,
    });
  });
