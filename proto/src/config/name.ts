import { z } from 'zod';

/** Namespace and source names stand in URLs, Kafka topics, Redis keys and metric labels. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9._-]{0,62}$/;
export const name = z
  .string()
  .regex(NAME_PATTERN, 'expected 1 to 63 of a-z, 0-9, ".", "_", "-", beginning with a letter or digit');
