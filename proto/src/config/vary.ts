import { z } from 'zod';

const MAX_FIELDS = 8;

/** Name of a request header; upper and lower case are the same there. */
const field = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9-]{0,62}$/, 'expected the name of a request header, such as accept-language')
  .transform((name) => name.toLowerCase());

const fields = z.array(field).max(MAX_FIELDS).default([]);

/** By what values of one key differ. */
export const vary = z
  .strictObject({
    headers: fields.describe('Request headers by which values differ; one that is missing counts as empty.'),
    identity: fields.describe(
      'Request headers that say for whom a value is, such as a tenant or a role: a request without one of them is refused.',
    ),
  })
  .refine(
    ({ headers, identity }) => headers.length + identity.length > 0,
    'found neither headers nor identity, expected at least one of them',
  )
  .refine(
    ({ headers, identity }) => new Set([...headers, ...identity]).size === headers.length + identity.length,
    'found a header twice, expected each once',
  );
