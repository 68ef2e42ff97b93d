import { hash32 } from '../hash.ts';

/**
 * Names of the keys of one bucket of a source. All of them share the hash tag `{source:bucket}`, so that a script
 * touches one slot of a cluster. The leading number is the version of this layout.
 *
 *   L        header of the fence log (header.ts), no TTL
 *   K, T     sorted sets: key and tag fences, member -> position, with one sentinel member of score +inf each
 *   N:pair   state of a namespace under particular rules: `adoption from fence`
 *   E:...    entries (envelope.ts), with a TTL
 *   P:...    entries of namespaces that opted out of coherence, with a TTL
 *   V:...    chunks of entries, named by what chunks.ts says, with the TTL of their entry
 *   C:...    claims on keys: the token of whoever has it, with a TTL
 *   H:..., D:...  the keys of a namespace that are read most (hot-list.ts), and that they decayed lately, with a TTL
 */
export interface BucketKeys {
  readonly log: string;
  readonly keyFences: string;
  readonly tagFences: string;
  readonly pair: (hashHex: string) => string;
  readonly entry: (generation: string, hashHex: string, key: string) => string;
  readonly plain: (namespace: string, key: string) => string;
  readonly chunk: (token: string, index: number) => string;
  /** `scope`: the rules hash, or the name of a namespace without rules. */
  readonly claim: (scope: string, key: string) => string;
  /** Likewise. */
  readonly hot: (scope: string) => string;
  readonly decay: (scope: string) => string;
}

export function bucketKeys(source: string, bucket: number): BucketKeys {
  const prefix = `tidemark1:{${source}:${bucket}}:`;
  return {
    log: `${prefix}L`,
    keyFences: `${prefix}K`,
    tagFences: `${prefix}T`,
    pair: (hashHex) => `${prefix}N:${hashHex}`,
    entry: (generation, hashHex, key) => `${prefix}E:${generation}:${hashHex}:${key}`,
    plain: (namespace, key) => `${prefix}P:${namespace}:${key}`,
    chunk: (token, index) => `${prefix}V:${token}:${index}`,
    hot: (scope) => `${prefix}H:${scope}`,
    decay: (scope) => `${prefix}D:${scope}`,
    claim: (scope, key) => `${prefix}C:${scope}:${key}`,
  };
}

/** The bucket of a key; every process must agree, so it depends on names only. `scope` as in {@link BucketKeys.claim}. */
export function bucketOf(buckets: number, scope: string, key: string): number {
  return buckets === 1 ? 0 : hash32(0, `${scope}:${key}`) % buckets;
}

/** What scripts answer of chunks that nothing names any more, as keys. What is of another form names nothing. */
export function chunkKeys(keys: BucketKeys, gone: string): string[] {
  const [, count, token = ''] = /^(\d{1,5}):([\w-]{16})$/.exec(gone) ?? [];
  return Array.from({ length: Number(count ?? 0) }, (_, i) => keys.chunk(token, i));
}

/** Member of the fence sets for a key or tag of a namespace. */
export function fenceMember(hashHex: string, name: string): string {
  return `${hashHex}:${name}`;
}
