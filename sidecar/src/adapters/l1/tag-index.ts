import type { Node } from './node.ts';

/** The nodes of each tag. */
export class TagIndex {
  readonly #nodes = new Map<string, Set<Node>>();

  of(tag: string): ReadonlySet<Node> | undefined {
    return this.#nodes.get(tag);
  }

  link(node: Node): void {
    for (const tag of node.entry.tags) {
      const nodes = this.#nodes.get(tag);
      if (nodes === undefined) this.#nodes.set(tag, new Set([node]));
      else nodes.add(node);
    }
  }

  unlink(node: Node): void {
    for (const tag of node.entry.tags) {
      const nodes = this.#nodes.get(tag);
      if (nodes === undefined || !nodes.delete(node)) continue;
      if (nodes.size === 0) this.#nodes.delete(tag);
    }
  }
}
