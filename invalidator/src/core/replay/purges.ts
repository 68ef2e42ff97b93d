import { PURGE_LIMITS, type NamespaceRules, type PurgeRequest } from '@tidemark/proto';
import type { ReplayOutput } from './engine.ts';

type Target = PurgeRequest['purge'][number];

/** Names of a namespace beyond which it is purged as a whole: to load it again costs less than to name all of it. */
const MAX_NAMES = 50_000;

type NameKind = 'keys' | 'tags' | 'prefixes';

interface Collected {
  readonly keys: Set<string>;
  readonly tags: Set<string>;
  readonly prefixes: Set<string>;
  /** Names that were not sent yet. */
  pending: { readonly kind: NameKind; readonly name: string }[];
  all: 'no' | 'pending' | 'sent';
}

/**
 * Puts together what is to be purged, each name once however often it was invalidated: a purge is written at a position
 * behind all that is replayed (SPEC I11), so once is enough. Memory is bounded: a namespace with too many names falls as a
 * whole, and then needs no names any more.
 */
export class PurgeCollector implements ReplayOutput {
  readonly #maxNames: number;
  readonly #byNamespace = new Map<string, Collected>();
  #pending = 0;

  constructor(options: { readonly maxNames?: number } = {}) {
    this.#maxNames = options.maxNames ?? MAX_NAMES;
  }

  /** Names and namespaces that wait for {@link next}. */
  get pending(): number {
    return this.#pending;
  }

  key({ name }: NamespaceRules, key: string): void {
    // What is no key that can be cached needs no purge.
    if (key !== '' && isNameable(key)) this.#add(name, 'keys', key);
  }

  tag({ name }: NamespaceRules, tag: string): void {
    if (isNameable(tag)) this.#add(name, 'tags', tag);
    else this.#fall(name);
  }

  prefix({ name }: NamespaceRules, prefix: string): void {
    if (isNameable(prefix)) this.#add(name, 'prefixes', prefix);
    else this.#fall(name);
  }

  namespace({ name }: NamespaceRules): void {
    this.#fall(name);
  }

  /** What one purge can hold of what waits, with how many names; undefined when nothing waits. */
  next(): { readonly request: PurgeRequest; readonly names: number } | undefined {
    const purge: Target[] = [];
    let names = 0;
    for (const [namespace, collected] of this.#byNamespace) {
      if (purge.length >= PURGE_LIMITS.targets || names >= PURGE_LIMITS.names) break;
      if (collected.all === 'pending') {
        collected.all = 'sent';
        purge.push({ namespace, keys: [], tags: [], all: true });
        this.#pending -= 1;
        continue;
      }
      if (collected.pending.length === 0) continue;
      const some = collected.pending.splice(0, PURGE_LIMITS.names - names);
      const of = (kind: NameKind): string[] => some.filter((one) => one.kind === kind).map(({ name }) => name);
      purge.push({ namespace, keys: of('keys'), tags: of('tags'), prefixes: of('prefixes'), all: false });
      names += some.length;
      this.#pending -= some.length;
    }
    return purge.length === 0 ? undefined : { request: { purge }, names };
  }

  #add(namespace: string, kind: NameKind, name: string): void {
    const collected = this.#of(namespace);
    if (collected.all !== 'no' || collected[kind].has(name)) return;
    collected[kind].add(name);
    collected.pending.push({ kind, name });
    this.#pending += 1;
    if (collected.keys.size + collected.tags.size + collected.prefixes.size > this.#maxNames) this.#fall(namespace);
  }

  #fall(namespace: string): void {
    const collected = this.#of(namespace);
    if (collected.all !== 'no') return;
    collected.all = 'pending';
    this.#pending += 1 - collected.pending.length;
    collected.pending = [];
    collected.keys.clear();
    collected.tags.clear();
    collected.prefixes.clear();
  }

  #of(namespace: string): Collected {
    let collected = this.#byNamespace.get(namespace);
    if (collected === undefined) {
      collected = { keys: new Set(), tags: new Set(), prefixes: new Set(), pending: [], all: 'no' };
      this.#byNamespace.set(namespace, collected);
    }
    return collected;
  }
}

const encoder = new TextEncoder();

/** Whether a purge can name it (PURGE_LIMITS). */
function isNameable(name: string): boolean {
  const { nameBytes } = PURGE_LIMITS;
  if (name === '' || name.length > nameBytes) return false;
  return name.length * 3 <= nameBytes || encoder.encode(name).length <= nameBytes;
}
