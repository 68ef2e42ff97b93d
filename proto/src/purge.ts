import { z } from 'zod';

/** Prefix of `pg_logical_emit_message` for purges (SPEC I11). */
export const PURGE_PREFIX = 'tidemark';
/** Prefix of the publisher's own liveness messages. */
export const HEARTBEAT_PREFIX = 'tidemark.heartbeat';

/** Limits of one purge, so that one message cannot exceed a record. */
export const PURGE_LIMITS = { targets: 100, names: 1000, nameBytes: 512 } as const;

const names = z.array(z.string().min(1).max(PURGE_LIMITS.nameBytes)).max(PURGE_LIMITS.names).default([]);

const target = z
  .strictObject({
    namespace: z.string().min(1).max(63),
    keys: names,
    tags: names,
    all: z.boolean().default(false),
  })
  .refine((value) => value.all || value.keys.length + value.tags.length > 0, 'expected keys, tags or all: true');

/** Body of a purge: the content of the WAL message and of POST /v1/purge. */
export const purgeSchema = z.strictObject({ purge: z.array(target).min(1).max(PURGE_LIMITS.targets) });

export type PurgeRequest = z.output<typeof purgeSchema>;

/** Undefined when the text is not a purge; a publisher then purges everything, because it cannot know what was meant. */
export function parsePurge(text: string): PurgeRequest | undefined {
  try {
    return purgeSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
