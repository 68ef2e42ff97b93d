import type { Entry } from '@tidemark/proto';
import type { Displacement, L1Store, Tenant } from '../../core/ports.ts';
import { Budget } from './budget.ts';
import { Node } from './node.ts';
import type { Policy } from './policy.ts';
import { sizeOf } from './size.ts';
import { TagIndex } from './tag-index.ts';

/** Beyond it everything goes at once (SPEC I13): one by one they would keep callers waiting for tens of milliseconds. */
const MAX_KEYS_OF_A_TAG = 20_000;
/** The same of all the tags that those have: each is a place in the index, and takes 0.5 µs. */
const MAX_LINKS_OF_A_TAG = 100_000;

/** L1 of a namespace: keeps account of what is there and within which limits; a {@link Policy} says what goes. */
export class MemoryStore implements L1Store, Tenant {
  readonly maxBytes: number;
  readonly displaced: Record<Displacement, number> = { bytes: 0, entries: 0, total_bytes: 0, total_entries: 0 };
  readonly #maxEntries: number;
  readonly #policy: Policy;
  readonly #budget: Budget;
  #nodes = new Map<string, Node>();
  #tags = new TagIndex();
  #bytes = 0;
  #steps = 0;

  /** @param options.budget what it shares with others; default: nothing, its own limits are all there are. */
  constructor(options: {
    maxBytes: number;
    maxEntries?: number | undefined;
    policy: Policy;
    budget?: Budget | undefined;
  }) {
    this.maxBytes = options.maxBytes;
    this.#maxEntries = options.maxEntries ?? Number.POSITIVE_INFINITY;
    this.#policy = options.policy;
    this.#budget = options.budget ?? new Budget();
  }

  get bytes(): number {
    return this.#bytes;
  }

  get entries(): number {
    return this.#nodes.size;
  }

  get steps(): number {
    return this.#steps;
  }

  get(key: string): Entry | undefined {
    const node = this.#nodes.get(key);
    if (node === undefined) return undefined;
    this.#policy.used(node);
    return node.entry;
  }

  *recent(most: number): Iterable<readonly [string, Entry]> {
    let left = most;
    for (const { key, entry } of this.#policy.ranked()) {
      if (left <= 0) return;
      left -= 1;
      yield [key, entry];
    }
  }

  *tagged(tag: string, most: number): Iterable<readonly [string, Entry]> {
    let left = most;
    for (const { key, entry } of this.#tags.of(tag) ?? []) {
      if (left <= 0) return;
      left -= 1;
      yield [key, entry];
    }
  }

  set(key: string, entry: Entry): boolean {
    const bytes = sizeOf(key, entry);
    const present = this.#nodes.get(key);
    if (bytes > this.maxBytes || bytes > this.#budget.maxBytes) {
      if (present !== undefined) this.#remove(present);
      return false;
    }
    const node = present === undefined ? this.#add(new Node(key, entry, bytes)) : this.#replace(present, entry, bytes);
    while (this.#bytes > this.maxBytes) this.displace('bytes');
    while (this.#nodes.size > this.#maxEntries) this.displace('entries');
    this.#budget.settle();
    return this.#nodes.get(key) === node;
  }

  restate(key: string, { before, after }: { before: Entry; after: Entry }): void {
    const node = this.#nodes.get(key);
    if (node?.entry === before) node.entry = after;
  }

  delete(key: string): number {
    const node = this.#nodes.get(key);
    if (node === undefined) return 0;
    this.#remove(node);
    return 1;
  }

  deleteTag(tag: string): number {
    const nodes = this.#tags.of(tag);
    if (nodes === undefined) return 0;
    const count = nodes.size;
    if (count > MAX_KEYS_OF_A_TAG || hasMoreLinks(nodes, MAX_LINKS_OF_A_TAG)) return this.clear();
    for (const node of nodes) this.#remove(node);
    return count;
  }

  /** O(1): millions of entries are left to the garbage collector instead of being taken out one by one. */
  clear(): number {
    const count = this.#nodes.size;
    if (count === 0) return 0;
    const bytes = this.#bytes;
    this.#nodes = new Map();
    this.#tags = new TagIndex();
    this.#bytes = 0;
    this.#policy.clear();
    this.#budget.changed(this, { bytes: -bytes, entries: -count });
    return count;
  }

  displace(reason: Displacement): void {
    const node = this.#policy.victim();
    if (node === undefined) throw new Error('found no victim among entries that exceed a limit, expected one');
    this.displaced[reason] += 1;
    this.#remove(node);
  }

  #add(node: Node): Node {
    this.#nodes.set(node.key, node);
    this.#tags.link(node);
    this.#bytes += node.bytes;
    this.#policy.added(node);
    this.#budget.changed(this, { bytes: node.bytes, entries: 1 });
    return node;
  }

  #replace(node: Node, entry: Entry, bytes: number): Node {
    const before = node.bytes;
    this.#tags.unlink(node);
    node.entry = entry;
    node.bytes = bytes;
    this.#tags.link(node);
    this.#bytes += bytes - before;
    this.#policy.replaced(node, before);
    this.#budget.changed(this, { bytes: bytes - before, entries: 0 });
    return node;
  }

  #remove(node: Node): void {
    this.#steps += 1 + node.entry.tags.length;
    this.#nodes.delete(node.key);
    this.#tags.unlink(node);
    this.#bytes -= node.bytes;
    this.#policy.removed(node);
    this.#budget.changed(this, { bytes: -node.bytes, entries: -1 });
  }
}

function hasMoreLinks(nodes: Iterable<Node>, than: number): boolean {
  let links = 0;
  for (const { entry } of nodes) {
    links += entry.tags.length;
    if (links > than) return true;
  }
  return false;
}
