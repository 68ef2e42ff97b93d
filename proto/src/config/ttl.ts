import { z } from 'zod';
import { percentage, ttlDuration } from './quantities.ts';

/** How long entries may be served. */
export const ttl = z.strictObject({
  hard: ttlDuration.prefault('30m').describe('An entry is never served longer than this after it was stored.'),
  negative: ttlDuration.prefault('30s').describe('The same for entries that say that the row does not exist.'),
  jitter: percentage
    .prefault('10%')
    .describe('Shortens each TTL by a random part up to this, so that entries stored together do not end together.'),
});
