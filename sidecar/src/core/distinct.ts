import type { Namespace } from './namespace.ts';

/** What is read: an address in a namespace. */
export interface BatchItem {
  readonly namespace: Namespace;
  readonly key: string;
}

/**
 * Each item once, and for each of those given its place among them. A caller that named a missing key twice would wait for the value
 * that it is itself asked to load.
 */
export function distinct(given: readonly BatchItem[]): { items: readonly BatchItem[]; places: readonly number[] } {
  const items: BatchItem[] = [];
  const known = new Map<Namespace, Map<string, number>>();
  const places = given.map((item) => {
    const { namespace, key } = item;
    let of = known.get(namespace);
    if (of === undefined) known.set(namespace, (of = new Map()));
    let place = of.get(key);
    if (place === undefined) of.set(key, (place = items.push(item) - 1));
    return place;
  });
  return { items, places };
}
