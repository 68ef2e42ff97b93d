/**
 * A sidecar's limits of time where how long a busy machine takes decides nothing: records that come late, what happens between
 * a lease and its fill, an answer of Redis.
 */
export const PATIENT = {
  TIDEMARK_MAX_STALENESS: '10m',
  TIDEMARK_LEASE_TTL: '10m',
  TIDEMARK_REDIS_DEADLINE: '5s',
} as const;
