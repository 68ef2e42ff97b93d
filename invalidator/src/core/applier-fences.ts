import type { InvalidationSink, Lsn, NamespaceRules } from '@tidemark/proto';
import { bucketOf, type Fence } from '@tidemark/proto/redis';

interface Collected {
  readonly keys: Map<string, Lsn>;
  readonly tags: Map<string, Lsn>;
  all: Lsn;
  isCollapsed: boolean;
}

/** No entry has a longer key (http-api: 512 bytes), so a fence on one would only take memory. */
const MAX_KEY_LENGTH = 512;

/** How many fences of each kind. */
export interface FenceCounts {
  readonly key: number;
  readonly tag: number;
  readonly namespace: number;
}

/**
 * What some records invalidate in the namespaces that are applied, each name once at its newest position. A namespace
 * with more names than a fence log remembers becomes one fence on all of it: bounded memory, more misses, and no eviction
 * is lost (SPEC I13).
 */
export class FenceSet implements InvalidationSink {
  readonly #maxNames: number;
  readonly #byNamespace: ReadonlyMap<NamespaceRules, Collected>;
  #size = 0;

  constructor(options: { readonly namespaces: readonly NamespaceRules[]; readonly maxNames: number }) {
    this.#maxNames = options.maxNames;
    this.#byNamespace = new Map(
      options.namespaces.map((namespace) => [
        namespace,
        { keys: new Map(), tags: new Map(), all: 0, isCollapsed: false },
      ]),
    );
  }

  /** Names of keys and tags. */
  get size(): number {
    return this.#size;
  }

  key(namespace: NamespaceRules, key: string, lsn: Lsn): void {
    if (key.length <= MAX_KEY_LENGTH) this.#raise(namespace, 'keys', { name: key, lsn });
  }

  tag(namespace: NamespaceRules, tag: string, lsn: Lsn): void {
    this.#raise(namespace, 'tags', { name: tag, lsn });
  }

  /** A log knows fences by name only. Namespaces seldom fall, and entries with the prefix are in every bucket. */
  prefix(namespace: NamespaceRules, _prefix: string, lsn: Lsn): void {
    this.namespace(namespace, lsn);
  }

  namespace(namespace: NamespaceRules, lsn: Lsn): void {
    const collected = this.#byNamespace.get(namespace);
    if (collected !== undefined) collected.all = Math.max(collected.all, lsn);
  }

  /** Every namespace with the newest fence on all of it, 0 for none. */
  namespaces(): readonly { readonly pair: string; readonly lsn: Lsn }[] {
    return [...this.#byNamespace].map(([{ hashHex }, { all }]) => ({ pair: hashHex, lsn: all }));
  }

  /** Fences on keys, by the bucket that holds the key. */
  keysByBucket(buckets: number): readonly (readonly Fence[])[] {
    const byBucket: Fence[][] = Array.from({ length: buckets }, () => []);
    for (const [{ hashHex: pair }, { keys }] of this.#byNamespace) {
      for (const [name, lsn] of keys) byBucket[bucketOf(buckets, pair, name)]?.push({ pair, name, lsn });
    }
    return byBucket;
  }

  /** Fences on tags; an entry with a tag can be in any bucket. */
  tags(): readonly Fence[] {
    return [...this.#byNamespace].flatMap(([{ hashHex: pair }, { tags }]) =>
      Array.from(tags, ([name, lsn]) => ({ pair, name, lsn })),
    );
  }

  counts(): FenceCounts {
    const all = [...this.#byNamespace.values()];
    return {
      key: all.reduce((sum, { keys }) => sum + keys.size, 0),
      tag: all.reduce((sum, { tags }) => sum + tags.size, 0),
      namespace: all.filter((collected) => collected.all > 0).length,
    };
  }

  #raise(namespace: NamespaceRules, kind: 'keys' | 'tags', { name, lsn }: { name: string; lsn: Lsn }): void {
    const collected = this.#byNamespace.get(namespace);
    if (collected === undefined) return;
    if (collected.isCollapsed) {
      collected.all = Math.max(collected.all, lsn);
      return;
    }
    const names = collected[kind];
    const known = names.get(name);
    if (known === undefined) this.#size += 1;
    if (known === undefined || known < lsn) names.set(name, lsn);
    if (names.size > this.#maxNames) this.#collapse(collected);
  }

  #collapse(collected: Collected): void {
    for (const names of [collected.keys, collected.tags]) {
      for (const lsn of names.values()) collected.all = Math.max(collected.all, lsn);
      this.#size -= names.size;
      names.clear();
    }
    collected.isCollapsed = true;
  }
}
