import { z } from 'zod';
import { GIB, KIB, size } from './quantities.ts';

export const DEFAULT_L1_SIZE = '64MiB';

/** What goes when there is no room for more; sidecar/docs/eviction.md says when to take which. */
export const L1_POLICIES = ['lru', 'lfu', 'fifo', 'random', 'ttl'] as const;
export type L1Policy = (typeof L1_POLICIES)[number];

/** How much of a namespace a sidecar holds in its memory. */
export const l1 = z.strictObject({
  maxBytes: size('64KiB to 16GiB', { min: 64 * KIB, max: 16 * GIB })
    .prefault(DEFAULT_L1_SIZE)
    .describe('Memory for this namespace in the sidecar, the overhead of each entry included.'),
  maxEntries: z.int().min(1).max(100_000_000).optional().describe('Most entries there. Default: as many as fit.'),
  policy: z
    .enum(L1_POLICIES)
    .default('lru')
    .describe(
      'What goes when there is no room: the longest unused (lru), what was asked for least often lately (lfu, W-TinyLFU), the longest stored (fifo), any (random), or what expires first (ttl).',
    ),
});
