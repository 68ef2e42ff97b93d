import type { NamespaceRules } from '@tidemark/proto';

/** Names of which a change is known and its position is not: it may be above any. By the hash of the rules, which outlives documents. */
export class Seals {
  readonly #counts = new Map<string, number>();

  /** The answer ends it; to be called once. */
  seal(rules: NamespaceRules, names: readonly string[]): () => void {
    const places = names.map((name) => placeOf(rules, name));
    for (const place of places) this.#counts.set(place, (this.#counts.get(place) ?? 0) + 1);
    return () => {
      for (const place of places) {
        const left = (this.#counts.get(place) ?? 0) - 1;
        if (left > 0) this.#counts.set(place, left);
        else this.#counts.delete(place);
      }
    };
  }

  /** Whether the key or one of the tags is sealed. */
  has(rules: NamespaceRules, key: string, tags: readonly string[]): boolean {
    if (this.#counts.size === 0) return false;
    return this.#counts.has(placeOf(rules, key)) || tags.some((tag) => this.#counts.has(placeOf(rules, tag)));
  }
}

function placeOf({ hashHex }: NamespaceRules, name: string): string {
  return `${hashHex}:${name}`;
}
