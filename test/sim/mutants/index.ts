import { CONFIGURATION_MUTANTS } from './configuration.ts';
import { FEATURE_MUTANTS } from './features.ts';
import type { Mutant } from './mutant.ts';
import { PUBLISHER_MUTANTS } from './publisher.ts';
import { REDIS_MUTANTS } from './redis.ts';
import { SIDECAR_MUTANTS } from './sidecar.ts';

/**
 * Each one alone must be found: a simulation that cannot find the hole is worth nothing. Not here: that a publisher skips what
 * was published before, because to repeat it would cost needless evictions only.
 */
export const MUTANTS: readonly Mutant[] = [
  ...SIDECAR_MUTANTS,
  ...REDIS_MUTANTS,
  ...PUBLISHER_MUTANTS,
  ...CONFIGURATION_MUTANTS,
  ...FEATURE_MUTANTS,
];
