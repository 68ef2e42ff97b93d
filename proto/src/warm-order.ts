import { z } from 'zod';
import { MAX_WARM_KEYS } from './config/warm.ts';
import { listOf } from './list-of.ts';
import { utf8Length } from './utf8.ts';

/** Keys of one request. */
export const MAX_ORDERED_KEYS = 10_000;
const MAX_KEY_BYTES = 512;

const key = z
  .string()
  .refine(
    (text) => text !== '' && text.isWellFormed() && utf8Length(text) <= MAX_KEY_BYTES,
    `expected 1 to ${MAX_KEY_BYTES} bytes of UTF-8`,
  );

/** Body of `POST /v1/warm`: one namespace, and which of its keys. */
export const warmOrderSchema = z
  .strictObject({
    namespace: z.string().min(1).max(63),
    keys: listOf(key, MAX_ORDERED_KEYS).optional(),
    hot: z.int().min(1).max(MAX_WARM_KEYS).optional(),
    sql: z.literal(true).optional(),
  })
  .refine(
    ({ keys, hot, sql }) => [keys, hot, sql].filter((each) => each !== undefined).length === 1,
    'expected one of keys, hot and sql',
  );
