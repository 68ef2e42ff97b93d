import type { Lsn, NamespaceRules } from '@tidemark/proto';
import type { Marks } from './marks.ts';
import type { Namespace } from './namespace.ts';
import type { EvictionTarget } from './replica.ts';

/** Removes from L1 what a record invalidates, and dooms the fills that are under way for it. */
export class Evictor implements EvictionTarget {
  #namespaces: readonly Namespace[];
  readonly #marks: Marks | undefined;

  /** @param namespaces at their index in the compiled rules. */
  constructor(namespaces: readonly Namespace[], marks?: Marks) {
    this.#namespaces = namespaces;
    this.#marks = marks;
  }

  /** From here on rules of other indexes are named. */
  reconfigure(namespaces: readonly Namespace[]): void {
    this.#namespaces = namespaces;
  }

  mark(text: string, lsn: Lsn): void {
    this.#marks?.tell(text, lsn);
  }

  key(rules: NamespaceRules, key: string): void {
    const { l1, flights, counters } = this.#of(rules);
    counters.evictedByKey += l1.delete(key);
    flights.doom(key);
  }

  /** Fills under way say only at their end which tags they have; those are refused then. */
  tag(rules: NamespaceRules, tag: string): void {
    const { l1, counters } = this.#of(rules);
    counters.evictedByTag += l1.deleteTag(tag);
  }

  namespace(rules: NamespaceRules): void {
    const { l1, flights, counters } = this.#of(rules);
    counters.evictedByFlush += l1.clear();
    flights.doomAll();
  }

  #of(rules: NamespaceRules): Namespace {
    return this.#namespaces[rules.index] as Namespace;
  }
}
