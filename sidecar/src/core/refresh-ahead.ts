import type { Coalescer } from './coalescer.ts';
import type { Namespace } from './namespace.ts';

/** Loads ahead of readers that are under way at once, in all namespaces. */
const MAX_UNDER_WAY = 16;

/**
 * Loads the hottest keys anew as soon as a change has evicted them, before anybody asks (`refresh.ahead`). Each sidecar does for those that
 * are hot with it; by the claim on the key one of them loads and the others take its value from L2. When their soft TTL is over, hits
 * do the same without anybody waiting, so there is nothing to be done here.
 */
export class RefreshAhead {
  /** Values that were begun to be got ahead of readers. */
  begun = 0;
  readonly #coalescer: Coalescer;
  readonly #evicted = new Map<Namespace, Set<string>>();
  #underWay = 0;
  #isAdvancing = false;

  constructor({ coalescer }: { coalescer: Coalescer }) {
    this.#coalescer = coalescer;
    coalescer.attach({ ahead: this });
  }

  /** An entry was evicted by a change. O(1). */
  evicted(namespace: Namespace, key: string): void {
    const { refresh } = namespace.config;
    if (refresh.ahead === 0 || !namespace.hot.isAmong(key, refresh.ahead)) return;
    const keys = this.#evicted.get(namespace);
    if (keys === undefined) this.#evicted.set(namespace, new Set([key]));
    else if (keys.size < refresh.ahead) keys.add(key);
  }

  /** All entries were. O(keys that are refreshed). */
  flushed(namespace: Namespace): void {
    const { ahead } = namespace.config.refresh;
    if (ahead > 0) this.#evicted.set(namespace, new Set(namespace.hot.hottest(ahead)));
  }

  /** A record was applied as a whole: only then is known what is gone, and what new leases are worth. */
  advanced(): void {
    // What ends as soon as it is begun comes back here: the loop goes on with the next one itself.
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    try {
      this.#beginAll();
    } finally {
      this.#isAdvancing = false;
    }
  }

  #beginAll(): void {
    for (const [namespace, keys] of this.#evicted) {
      if (this.#coalescer.bypass(namespace) !== undefined) this.#evicted.delete(namespace);
      for (const key of keys) {
        if (this.#underWay >= MAX_UNDER_WAY) return;
        keys.delete(key);
        if (keys.size === 0) this.#evicted.delete(namespace);
        this.#begin(namespace, key);
      }
    }
  }

  #begin(namespace: Namespace, key: string): void {
    if (this.#coalescer.bypass(namespace) !== undefined) return;
    if (!namespace.loads(key) || namespace.l1.get(key) !== undefined) return;
    this.#underWay += 1;
    const isBegun = this.#coalescer.background(namespace, key, () => {
      this.#underWay -= 1;
      if (this.#evicted.size > 0) this.advanced();
    });
    if (isBegun) this.begun += 1;
    else this.#underWay -= 1;
  }
}
