import type { NamespaceSum, Tally } from './tally.ts';

/** How many names of each side are shown. */
const EXAMPLES = 5;

/** Names that only one of two sets of rules invalidates; undefined where too many were seen to know. */
export interface NameDifference {
  readonly count: number;
  readonly examples: readonly string[];
}

export interface NamespaceDifference {
  readonly namespace: string;
  /** Undefined where the old document does not have the namespace. */
  readonly before: NamespaceSum | undefined;
  /** Undefined where the new one does not. */
  readonly after: NamespaceSum | undefined;
  readonly onlyBefore: { readonly keys: NameDifference | undefined; readonly tags: NameDifference | undefined };
  readonly onlyAfter: { readonly keys: NameDifference | undefined; readonly tags: NameDifference | undefined };
}

/** What two sets of rules made of the same records, by namespace; those that did the same are left out. */
export function compareTallies(before: Tally, after: Tally): NamespaceDifference[] {
  const [old, young] = [byName(before), byName(after)];
  const differences: NamespaceDifference[] = [];
  for (const namespace of new Set([...old.keys(), ...young.keys()])) {
    const [was, is] = [old.get(namespace), young.get(namespace)];
    const difference = {
      namespace,
      before: was,
      after: is,
      onlyBefore: missingIn({ tally: before, other: after, sums: [was, is], namespace }),
      onlyAfter: missingIn({ tally: after, other: before, sums: [is, was], namespace }),
    };
    const isSame =
      was !== undefined &&
      is !== undefined &&
      was.falls === is.falls &&
      was.keys === is.keys &&
      was.tags === is.tags &&
      [difference.onlyBefore, difference.onlyAfter].every(
        ({ keys, tags }) => (keys?.count ?? 0) === 0 && (tags?.count ?? 0) === 0,
      );
    if (!isSame) differences.push(difference);
  }
  return differences;
}

function byName(tally: Tally): Map<string, NamespaceSum> {
  return new Map(tally.sums().map((sum) => [sum.namespace, sum]));
}

function missingIn(options: {
  readonly tally: Tally;
  readonly other: Tally;
  readonly sums: readonly (NamespaceSum | undefined)[];
  readonly namespace: string;
}): { readonly keys: NameDifference | undefined; readonly tags: NameDifference | undefined } {
  const { tally, other, sums, namespace } = options;
  const mine = tally.names(namespace);
  const theirs = other.names(namespace);
  const of = (kind: 'keys' | 'tags'): NameDifference | undefined => {
    const isCapped = sums.some((sum) => (kind === 'keys' ? sum?.distinctKeys : sum?.distinctTags)?.isCapped === true);
    if (isCapped) return undefined;
    const only = [...(mine?.[kind] ?? [])].filter((name) => theirs?.[kind].has(name) !== true);
    return { count: only.length, examples: only.slice(0, EXAMPLES) };
  };
  return { keys: of('keys'), tags: of('tags') };
}
