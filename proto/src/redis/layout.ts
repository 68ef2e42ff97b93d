import { hash32 } from '../hash.ts';

/**
 * Names of the keys of one bucket of a source. All of them share the hash tag `{source:bucket}`, so that a script
 * touches one slot of a cluster. The leading number is the version of this layout.
 *
 *   L        header of the fence log (header.ts), no TTL
 *   K, T     sorted sets: key and tag fences, member -> position, with one sentinel member of score +inf each
 *   N:pair   state of a namespace under particular rules: `adoption from fence`
 *   E:...    entries (envelope.ts), with a TTL
 *   C:...    claims on keys: the token of whoever has it, with a TTL
 */
export interface BucketKeys {
  readonly log: string;
  readonly keyFences: string;
  readonly tagFences: string;
  readonly pair: (hashHex: string) => string;
  readonly entry: (generation: string, hashHex: string, key: string) => string;
  readonly claim: (hashHex: string, key: string) => string;
}

export function bucketKeys(source: string, bucket: number): BucketKeys {
  const prefix = `tidemark1:{${source}:${bucket}}:`;
  return {
    log: `${prefix}L`,
    keyFences: `${prefix}K`,
    tagFences: `${prefix}T`,
    pair: (hashHex) => `${prefix}N:${hashHex}`,
    entry: (generation, hashHex, key) => `${prefix}E:${generation}:${hashHex}:${key}`,
    claim: (hashHex, key) => `${prefix}C:${hashHex}:${key}`,
  };
}

/** The bucket of a key; every process must agree, so it depends on names only. */
export function bucketOf(buckets: number, hashHex: string, key: string): number {
  return buckets === 1 ? 0 : hash32(0, `${hashHex}:${key}`) % buckets;
}

/** Member of the fence sets for a key or tag of a namespace. */
export function fenceMember(hashHex: string, name: string): string {
  return `${hashHex}:${name}`;
}
