/**
 * Bounds of what one transaction or record may hold (SPEC I13). Beyond them a table collapses into "every row", a purge
 * into "the whole namespace": coarser, never silent.
 */
export interface ChangeBounds {
  readonly maxTableBytes: number;
  readonly maxTableRows: number;
  readonly maxPurgeBytes: number;
  /** Of all tables, purges and marks together. */
  readonly maxBytes: number;
  readonly maxCommits: number;
}

/**
 * A record stays below 900 KB, Kafka's default limit being 1 MiB: `maxBytes`, six bytes for each commit, eight for each
 * namespace that is claimed. A purge at its own limit (PURGE_LIMITS) fits.
 */
export const DEFAULT_BOUNDS: ChangeBounds = {
  maxTableBytes: 512 * 1024,
  maxTableRows: 50_000,
  maxPurgeBytes: 560 * 1024,
  maxBytes: 820 * 1024,
  maxCommits: 5000,
};
