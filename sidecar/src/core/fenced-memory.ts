import { Fences, type CompiledRules, type InvalidationSink, type Lsn, type NamespaceRules } from '@tidemark/proto';
import { NameBound, PREFIX_WEIGHT } from './name-bound.ts';

/**
 * Where evictions go: the sidecar's own memory. Every call is synchronous; nothing is servable between two of them. Those of names answer how
 * many steps they took, one for each entry that went and each of its tags.
 */
export interface EvictionTarget {
  /**
   * What a transaction said of itself, with its commit position: of all of a record, before what the record evicts. `isAlone` is
   * false where a purge stands at the same position.
   */
  mark(text: string, lsn: Lsn, isAlone: boolean): void;
  key(namespace: NamespaceRules, key: string, lsn: Lsn): number;
  tag(namespace: NamespaceRules, tag: string, lsn: Lsn): number;
  prefix(namespace: NamespaceRules, prefix: string, lsn: Lsn): number;
  namespace(namespace: NamespaceRules, lsn: Lsn): void;
}

/** The fences of a source and the memory that they guard: what is raised on the ones goes from the other in the same step (SPEC I4, I13). */
export class FencedMemory implements InvalidationSink {
  readonly #evict: EvictionTarget;
  readonly #slots: { readonly keySlots?: number; readonly tagSlots?: number };
  readonly #bound: NameBound;
  #fences: Fences;

  /**
   * @param options.slots sizes of the fence memory; fewer mean more needless misses
   * @param options.maxNames of one namespace in one record, beyond which the namespace is flushed as a whole (SPEC I13)
   */
  constructor(options: {
    rules: CompiledRules;
    evict: EvictionTarget;
    slots: { readonly keySlots?: number; readonly tagSlots?: number };
    maxNames: number | undefined;
  }) {
    const { rules, evict, slots, maxNames: most } = options;
    this.#evict = evict;
    this.#slots = slots;
    this.#fences = new Fences({ namespaces: rules.namespaces.length, ...slots });
    this.#bound = new NameBound({ most, flush: (namespace, lsn) => this.namespace(namespace, lsn) });
    this.#bound.reconfigure(rules);
  }

  /** Nothing is known at or below this. */
  get horizon(): Lsn {
    return this.#fences.horizon;
  }

  newest(namespace: NamespaceRules, key: string, tags: readonly string[]): Lsn {
    return this.#fences.newest(namespace.index, key, tags);
  }

  /** All fences are forgotten; what is in memory stays. */
  restart(at: Lsn): void {
    this.#fences.restart(at);
  }

  /** Likewise, under other rules. */
  reconfigure(rules: CompiledRules, at: Lsn): void {
    this.#fences = new Fences({ namespaces: rules.namespaces.length, ...this.#slots });
    this.#fences.restart(at);
    this.#bound.reconfigure(rules);
  }

  /** What comes now is of one record that ends here. */
  beginRecord(to: Lsn): void {
    this.#bound.begin(to);
  }

  key(namespace: NamespaceRules, key: string, lsn: Lsn): void {
    if (this.#bound.isFlushed(namespace)) return;
    this.#fences.raiseKey(namespace.index, key, lsn);
    this.#bound.took(namespace, this.#evict.key(namespace, key, lsn));
  }

  tag(namespace: NamespaceRules, tag: string, lsn: Lsn): void {
    if (this.#bound.isFlushed(namespace)) return;
    this.#fences.raiseTag(namespace.index, tag, lsn);
    this.#bound.took(namespace, this.#evict.tag(namespace, tag, lsn));
  }

  prefix(namespace: NamespaceRules, prefix: string, lsn: Lsn): void {
    if (this.#bound.isFlushed(namespace, PREFIX_WEIGHT)) return;
    this.#fences.raisePrefix(namespace.index, prefix, lsn);
    this.#bound.took(namespace, this.#evict.prefix(namespace, prefix, lsn));
  }

  namespace(namespace: NamespaceRules, lsn: Lsn): void {
    this.#fences.raiseNamespace(namespace.index, lsn);
    this.#evict.namespace(namespace, lsn);
  }

  /** A key and tags outside of any record. */
  raise(namespace: NamespaceRules, what: { key: string; tags: readonly string[]; lsn: Lsn }): void {
    const { key, tags, lsn } = what;
    this.#fences.raiseKey(namespace.index, key, lsn);
    this.#evict.key(namespace, key, lsn);
    for (const tag of tags) {
      this.#fences.raiseTag(namespace.index, tag, lsn);
      this.#evict.tag(namespace, tag, lsn);
    }
  }

  /** Everything goes from memory; the fences stay. */
  flush(namespaces: readonly NamespaceRules[], lsn: Lsn): void {
    for (const namespace of namespaces) this.#evict.namespace(namespace, lsn);
  }
}
