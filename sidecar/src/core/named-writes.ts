/** What invalidates the value of a write. */
interface Named {
  readonly key: string;
  readonly tags: readonly string[];
}

/** The writes of one namespace, by the names that invalidate their values. */
export class NamedWrites<W extends Named> {
  readonly byKey = new Map<string, Set<W>>();
  readonly byTag = new Map<string, Set<W>>();

  add(write: W): void {
    for (const [map, name] of this.#places(write)) {
      const writes = map.get(name);
      if (writes === undefined) map.set(name, new Set([write]));
      else writes.add(write);
    }
  }

  delete(write: W): void {
    for (const [map, name] of this.#places(write)) {
      const writes = map.get(name);
      writes?.delete(write);
      if (writes?.size === 0) map.delete(name);
    }
  }

  #places({ key, tags }: W): readonly (readonly [Map<string, Set<W>>, string])[] {
    return [[this.byKey, key], ...tags.map((tag) => [this.byTag, tag] as const)];
  }
}
