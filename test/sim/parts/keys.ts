import { parseConfig, rulesOfSource, type CompiledRules, type Purge, type TidemarkConfig } from '@tidemark/proto';
import { TABLE } from './publication.ts';

/** Where a key's value comes from. */
export interface KeySpec {
  readonly namespace: string;
  readonly key: string;
  readonly rows: readonly string[];
  readonly tags: readonly string[];
}

export const ROWS = ['a', 'b'] as const;

/** Few keys, so that things meet: by key, by one tag, by two. */
export const KEYS: readonly KeySpec[] = [
  { namespace: 'byid', key: 'a', rows: ['a'], tags: [] },
  { namespace: 'byid', key: 'b', rows: ['b'], tags: [] },
  { namespace: 'lists', key: 'one', rows: ['a'], tags: ['row:a'] },
  { namespace: 'lists', key: 'both', rows: ROWS, tags: ['row:a', 'row:b'] },
];

export const MAX_STALENESS_MS = 5_000;

const parsed = parseConfig({
  sources: { main: { topic: 't' } },
  namespaces: {
    byid: { source: 'main', invalidate: [{ table: TABLE, keys: ['{id}'] }] },
    lists: { source: 'main', invalidate: [{ table: TABLE, tags: ['row:{id}'] }] },
  },
});
if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
export const CONFIG: TidemarkConfig = parsed.config;
export const RULES: CompiledRules = rulesOfSource(CONFIG, 'main');

/** Whether a purge names a key. */
export function isPurged(spec: KeySpec, { namespace, keys, tags, all }: Omit<Purge, 'commit'>): boolean {
  if (namespace !== '' && namespace !== spec.namespace) return false;
  return all || keys.includes(spec.key) || spec.tags.some((tag) => tags.includes(tag));
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
