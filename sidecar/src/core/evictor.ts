import type { Entry, Lsn, NamespaceRules } from '@tidemark/proto';
import type { Marks } from './marks.ts';
import type { Namespace } from './namespace.ts';
import type { OwnWrites } from './own-writes.ts';
import type { RefreshAhead } from './refresh-ahead.ts';
import type { EvictionTarget } from './fenced-memory.ts';

/**
 * Keys that are compared with a prefix, and those that go one by one: 2 ms each. Beyond it everything goes at once (SPEC I13), or where
 * what goes has too many tags.
 */
const MAX_COMPARED = 20_000;
const MAX_FOUND = 5_000;
const MAX_FOUND_TAGS = 50_000;

/** Of the entries that fall at once, so many are kept in grace: to look at all of them would keep callers waiting. */
const MAX_KEPT = 1_000;

/** Removes from L1 what a record invalidates, and dooms the fills that are under way for it. */
export class Evictor implements EvictionTarget {
  #namespaces: readonly Namespace[];
  readonly #marks: Marks | undefined;
  #own: OwnWrites | undefined;
  #ahead: RefreshAhead | undefined;

  /** @param namespaces at their index in the compiled rules. */
  constructor(namespaces: readonly Namespace[], marks?: Marks) {
    this.#namespaces = namespaces;
    this.#marks = marks;
  }

  /** From here on the values of our own writes are spared by what their own commits invalidate (SPEC I18). */
  spare(own: OwnWrites): void {
    this.#own = own;
  }

  /** From here on what is hot is loaded anew once it is evicted. */
  tell(ahead: RefreshAhead): void {
    this.#ahead = ahead;
  }

  /** From here on rules of other indexes are named. */
  reconfigure(namespaces: readonly Namespace[]): void {
    this.#namespaces = namespaces;
  }

  mark(text: string, lsn: Lsn, isAlone: boolean): void {
    this.#marks?.tell(text, lsn, isAlone);
  }

  key(rules: NamespaceRules, key: string, lsn: Lsn): number {
    const namespace = this.#of(rules);
    const { l1, flights, counters, grace } = namespace;
    const { steps } = l1;
    flights.doom(key);
    if (this.#own?.key(namespace, key, lsn) === true) return 0;
    const entry = grace && l1.get(key);
    counters.evictedByKey += l1.delete(key);
    // Only now, so that it takes no room twice.
    if (entry !== undefined) grace?.keep(key, entry);
    this.#ahead?.evicted(namespace, key);
    return l1.steps - steps;
  }

  /** Fills under way say only at their end which tags they have; those are refused then. */
  tag(rules: NamespaceRules, tag: string, lsn: Lsn): number {
    const namespace = this.#of(rules);
    const { l1, counters, grace } = namespace;
    const { steps } = l1;
    const spared = (this.#own?.tag(namespace, tag, lsn) ?? []).map((key) => [key, l1.get(key)] as const);
    const kept = grace === undefined ? [] : [...l1.tagged(tag, MAX_KEPT)];
    if (namespace.config.refresh.ahead > 0)
      for (const [key] of l1.tagged(tag, MAX_KEPT)) this.#ahead?.evicted(namespace, key);
    counters.evictedByTag += l1.deleteTag(tag) - spared.length;
    for (const [key, entry] of kept) grace?.keep(key, entry);
    // In the same step, so for nobody they were gone.
    for (const [key, entry] of spared) {
      if (entry === undefined) continue;
      grace?.delete(key);
      l1.set(key, entry);
    }
    return l1.steps - steps;
  }

  /** O(entries), and O(1) where there are too many to be compared. */
  prefix(rules: NamespaceRules, prefix: string): number {
    const namespace = this.#of(rules);
    const { l1, flights, counters, grace } = namespace;
    const { steps } = l1;
    const found: (readonly [string, Entry])[] = [];
    let tags = 0;
    if (l1.entries <= MAX_COMPARED)
      for (const held of l1.recent(l1.entries)) {
        if (!held[0].startsWith(prefix)) continue;
        found.push(held);
        tags += held[1].tags.length;
      }
    if (l1.entries > MAX_COMPARED || found.length > MAX_FOUND || tags > MAX_FOUND_TAGS) {
      this.namespace(rules);
      return 0;
    }
    this.#own?.many(namespace, (key) => key.startsWith(prefix));
    for (const [key] of found) {
      counters.evictedByPrefix += l1.delete(key);
      this.#ahead?.evicted(namespace, key);
    }
    for (const [key, entry] of grace === undefined ? [] : found.slice(0, MAX_KEPT)) grace?.keep(key, entry);
    for (const { key } of flights.all()) if (key.startsWith(prefix)) flights.doom(key);
    return l1.steps - steps;
  }

  namespace(rules: NamespaceRules): void {
    const namespace = this.#of(rules);
    const { l1, flights, counters, grace } = namespace;
    this.#own?.many(namespace);
    const kept = grace === undefined ? [] : [...l1.recent(MAX_KEPT)];
    counters.evictedByFlush += l1.clear();
    for (const [key, entry] of kept) grace?.keep(key, entry);
    this.#ahead?.flushed(namespace);
    flights.doomAll();
  }

  #of(rules: NamespaceRules): Namespace {
    return this.#namespaces[rules.index] as Namespace;
  }
}
