import { z } from 'zod';
import { listOf } from './list-of.ts';
import { utf8Length } from './utf8.ts';

/** Prefix of `pg_logical_emit_message` for purges (SPEC I11). */
export const PURGE_PREFIX = 'tidemark';
/** Prefix of the publisher's own liveness messages. */
export const HEARTBEAT_PREFIX = 'tidemark.heartbeat';

/** Limits of one purge, so that it always fits a record: at most 512 KiB of names. */
export const PURGE_LIMITS = { targets: 100, names: 1000, nameBytes: 512 } as const;

/** A key, a tag or what keys begin with; a lone surrogate could not be encoded as UTF-8 and would name something else. */
const name = z
  .string()
  .refine(
    (text) => text !== '' && text.isWellFormed() && utf8Length(text) <= PURGE_LIMITS.nameBytes,
    `expected 1 to ${PURGE_LIMITS.nameBytes} bytes of UTF-8`,
  );

const names = listOf(name, PURGE_LIMITS.names);

const target = z
  .strictObject({
    namespace: z.string().min(1).max(63),
    keys: names.default([]),
    tags: names.default([]),
    prefixes: names.optional(),
    all: z.boolean().default(false),
  })
  .refine((value) => value.all || namesIn(value) > 0, 'expected keys, tags, prefixes or all: true');

function namesIn({
  keys,
  tags,
  prefixes,
}: {
  readonly keys: readonly string[];
  readonly tags: readonly string[];
  readonly prefixes?: readonly string[] | undefined;
}): number {
  return keys.length + tags.length + (prefixes?.length ?? 0);
}

/** Body of a purge: the content of the WAL message and of POST /v1/purge. */
export const purgeSchema = z.strictObject({
  purge: listOf(target, PURGE_LIMITS.targets)
    .refine((targets) => targets.length > 0, 'expected 1 target at least')
    .refine(
      (targets) => targets.reduce((sum, each) => sum + namesIn(each), 0) <= PURGE_LIMITS.names,
      `expected at most ${PURGE_LIMITS.names} keys, tags and prefixes in all`,
    ),
});

export type PurgeRequest = z.output<typeof purgeSchema>;

/** Undefined when the text is not a purge; a publisher then purges everything, because it cannot know what was meant. */
export function parsePurge(text: string): PurgeRequest | undefined {
  try {
    return purgeSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
