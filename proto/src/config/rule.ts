import { z } from 'zod';
import { parseTemplate, TEMPLATE } from '../template.ts';
import { show } from './show.ts';

/** Text with columns or other names in braces. */
export const template = z
  .string()
  .superRefine((text, context) => {
    try {
      if (text === '') throw new Error('it is empty');
      parseTemplate(text);
    } catch (error) {
      context.addIssue({
        code: 'custom',
        message: `found ${show(text)}, expected a template such as user:{id}: ${(error as Error).message}`,
      });
    }
  })
  .meta({ pattern: TEMPLATE.source });

/** Which row changes of a table evict what. */
export const rule = z
  .strictObject({
    table: z
      .string()
      .regex(/^[^.\s]+\.[^.]+$/, 'expected schema.table, such as public.users')
      .describe('Table whose row changes invalidate; for a partitioned table its root.'),
    keys: z
      .array(template)
      .max(64)
      .default([])
      .describe('Keys to evict, with {column} filled from the old and the new row.'),
    tags: z.array(template).max(64).default([]).describe('Tags to evict, likewise.'),
  })
  .refine(
    (value) => value.keys.length + value.tags.length > 0,
    'found neither keys nor tags, expected at least one of them',
  );
