import type { Purge } from '@tidemark/proto';

/** Where a key's value comes from. */
export interface KeySpec {
  readonly namespace: string;
  readonly key: string;
  readonly rows: readonly string[];
  readonly tags: readonly string[];
}

export const ROWS = ['a', 'b'] as const;

export const MAX_STALENESS_MS = 5_000;

/** Whether a purge names a key. */
export function isPurged(spec: KeySpec, { namespace, keys, tags, prefixes = [], all }: Omit<Purge, 'commit'>): boolean {
  if (namespace !== '' && namespace !== spec.namespace) return false;
  if (all || keys.includes(spec.key) || spec.tags.some((tag) => tags.includes(tag))) return true;
  return prefixes.some((prefix) => spec.key.startsWith(prefix));
}

/** What an application loads: the version of each row, and when it was read. */
export interface Loaded {
  /** Everything with a lower id was written before the read. */
  readonly readAt: number;
  readonly versions: readonly number[];
}

export function bodyOf({ readAt, versions }: Loaded): Uint8Array {
  const body = Buffer.alloc(4 * (1 + versions.length));
  [readAt, ...versions].forEach((value, i) => body.writeUInt32BE(value, 4 * i));
  return body;
}

export function loadedFrom(body: Uint8Array): Loaded {
  const bytes = Buffer.from(body);
  const [readAt = 0, ...versions] = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32BE(4 * i));
  return { readAt, versions };
}
