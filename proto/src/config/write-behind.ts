import { z } from 'zod';
import { KIB, GIB, size } from './quantities.ts';
import { show } from './show.ts';

/** What a statement of a write may be given, and the type that Postgres is told (`{body}` as text, `{bytes}` as bytea). */
export const WRITE_PARAMS = ['{key}', '{body}', '{bytes}', '{contentType}', '{tags}', '{at}', '{offset}'] as const;
export type WriteParam = (typeof WRITE_PARAMS)[number];

const MAX_SQL_CHARS = 10_000;
/** How statements begin that would take the others of the batch with them, or wait for data that nobody sends. */
const CONTROL = /^\s*(?:abort|begin|commit|copy|end|prepare|release|rollback|savepoint|set|start)\b/i;
/** Room in a sidecar for writes that wait, of one namespace. */
const DEFAULT_MAX_PENDING = '16MiB';

const statement = (what: string) =>
  z
    .strictObject({
      sql: z
        .string()
        .min(1)
        .max(MAX_SQL_CHARS)
        .refine(
          (sql) => !CONTROL.test(sql),
          'expected a statement that neither begins nor ends a transaction, nor copies',
        )
        .describe(
          `One statement that ${what}. It runs in a transaction with other writes: it must not begin or end one.`,
        ),
      params: z
        .array(z.enum(WRITE_PARAMS))
        .max(32)
        .default(['{key}'])
        .describe(
          'What $1, $2, ... stand for: {key}, {body} (text), {bytes} (bytea), {contentType}, {tags} (text[]), {at} (when it was written), {offset} (its place in the topic; grows with every write).',
        ),
    })
    .superRefine(({ sql, params }, context) => {
      const named = new Set([...sql.matchAll(/\$(\d+)/g)].map((match) => Number(match[1])));
      const highest = Math.max(0, ...named);
      if (highest === params.length && named.size === highest) return;
      context.addIssue({
        code: 'custom',
        path: ['params'],
        message: `found ${params.length} for a statement with ${highest === 0 ? 'none' : `$1 to $${highest}`}, expected one for each (and each used): Postgres would refuse ${show(sql)}`,
      });
    });

/** Writes that are acknowledged once Kafka has them, and reach Postgres later. */
export const writeBehind = z
  .strictObject({
    put: statement(
      'stores the value of a key; it may run again with a newer value, so use INSERT ... ON CONFLICT DO UPDATE',
    )
      .optional()
      .describe('What PUT /v1/write does in Postgres, later. Without it PUT is refused.'),
    delete: statement('removes the key')
      .optional()
      .describe('What DELETE /v1/write does in Postgres, later. Without it DELETE is refused.'),
    maxPending: size('64KiB to 4GiB', { min: 64 * KIB, max: 4 * GIB })
      .prefault(DEFAULT_MAX_PENDING)
      .describe(
        'Memory in each sidecar for writes that did not reach Postgres yet. Writes are refused (503) once three quarters are used.',
      ),
  })
  .refine(({ put, delete: remove }) => put !== undefined || remove !== undefined, {
    error: 'found neither put nor delete, expected at least one of them',
  });

export type WriteBehindConfig = z.output<typeof writeBehind>;
export type WriteStatement = NonNullable<WriteBehindConfig['put']>;
