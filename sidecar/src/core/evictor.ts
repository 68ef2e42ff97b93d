import type { Entry, Lsn, NamespaceRules } from '@tidemark/proto';
import type { Marks } from './marks.ts';
import type { Namespace } from './namespace.ts';
import type { EvictionTarget } from './replica.ts';

/** Keys that are compared with a prefix; that takes 2 ms. Beyond it everything goes at once (SPEC I13). */
const MAX_COMPARED = 20_000;

/** Of the entries that fall at once, so many are kept in grace: to look at all of them would keep callers waiting. */
const MAX_KEPT = 1_000;

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
    const { l1, flights, counters, grace } = this.#of(rules);
    const entry = grace && l1.get(key);
    if (entry !== undefined) grace?.keep(key, entry);
    counters.evictedByKey += l1.delete(key);
    flights.doom(key);
  }

  /** Fills under way say only at their end which tags they have; those are refused then. */
  tag(rules: NamespaceRules, tag: string): void {
    const { l1, counters, grace } = this.#of(rules);
    if (grace !== undefined) for (const [key, entry] of [...l1.tagged(tag, MAX_KEPT)]) grace.keep(key, entry);
    counters.evictedByTag += l1.deleteTag(tag);
  }

  /** O(entries), and O(1) where there are too many to be compared. */
  prefix(rules: NamespaceRules, prefix: string): void {
    const { l1, flights, counters, grace } = this.#of(rules);
    if (l1.entries > MAX_COMPARED) {
      this.namespace(rules);
      return;
    }
    const found: (readonly [string, Entry])[] = [];
    for (const held of l1.recent(l1.entries)) if (held[0].startsWith(prefix)) found.push(held);
    for (const [key, entry] of grace === undefined ? [] : found.slice(0, MAX_KEPT)) grace?.keep(key, entry);
    for (const [key] of found) counters.evictedByPrefix += l1.delete(key);
    for (const { key } of flights.all()) if (key.startsWith(prefix)) flights.doom(key);
  }

  namespace(rules: NamespaceRules): void {
    const { l1, flights, counters, grace } = this.#of(rules);
    if (grace !== undefined) for (const [key, entry] of [...l1.recent(MAX_KEPT)]) grace.keep(key, entry);
    counters.evictedByFlush += l1.clear();
    flights.doomAll();
  }

  #of(rules: NamespaceRules): Namespace {
    return this.#namespaces[rules.index] as Namespace;
  }
}
