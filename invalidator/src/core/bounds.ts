/**
 * Bounds of what one transaction or record may hold (SPEC I13). Beyond them a table collapses into "every row", a purge
 * into "the whole namespace": coarser, never silent. A record stays below Kafka's default limit of 1 MiB.
 */
export interface ChangeBounds {
  readonly maxTableBytes: number;
  readonly maxTableRows: number;
  readonly maxPurgeBytes: number;
  readonly maxBytes: number;
  readonly maxCommits: number;
}

export const DEFAULT_BOUNDS: ChangeBounds = {
  maxTableBytes: 512 * 1024,
  maxTableRows: 50_000,
  maxPurgeBytes: 128 * 1024,
  maxBytes: 768 * 1024,
  maxCommits: 5000,
};
