import { z } from 'zod';
import { KIB, MIB, size } from './quantities.ts';

/** How a namespace's entries lie in L2. What it says of their form may be changed at any time: each says by itself what it is. */
export const l2 = z.strictObject({
  enabled: z.boolean().default(true).describe('Share entries between sidecars through Redis.'),
  compress: z
    .strictObject({
      enabled: z.boolean().default(true).describe('Compress values with zstd where that makes them smaller.'),
      over: size('256B to 16MiB', { min: 256, max: 16 * MIB })
        .prefault('4KiB')
        .describe('Smaller values are stored as they are: the time costs more than the room.'),
    })
    .prefault({}),
  chunk: size('64KiB to 8MiB', { min: 64 * KIB, max: 8 * MIB })
    .prefault('512KiB')
    .describe('What is larger once it is compressed is stored in pieces of this size, so that no command is large.'),
  lease: z
    .boolean()
    .default(true)
    .describe('One sidecar loads a missing value while the others wait for it, instead of each loading it.'),
});
