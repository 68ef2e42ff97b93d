import type { Node } from './node.ts';
import type { Policy } from './policy.ts';

/** What expires first goes first: a binary heap by the end of the hard TTL. Storing and removing are O(log n). */
export class TtlFirst implements Policy {
  /** No node expires before the one at half its place. Each node notes where it stands. */
  #heap: Node[] = [];

  added(node: Node): void {
    node.place = this.#heap.length;
    this.#heap.push(node);
    this.#up(node);
  }

  replaced(node: Node): void {
    this.#up(node);
    this.#down(node);
  }

  used(): void {}

  removed(node: Node): void {
    const last = this.#heap.pop();
    if (last === undefined || last === node) return;
    this.#put(last, node.place);
    this.#up(last);
    this.#down(last);
  }

  victim(): Node | undefined {
    return this.#heap[0];
  }

  /** Roughly: what stands below expires later than what stands above it. */
  *ranked(): Iterable<Node> {
    for (let at = this.#heap.length - 1; at >= 0; at--) yield this.#heap[at] as Node;
  }

  clear(): void {
    this.#heap = [];
  }

  #up(node: Node): void {
    for (let at = node.place; at > 0; at = node.place) {
      const above = this.#heap[(at - 1) >> 1] as Node;
      if (above.entry.expiresAtMs <= node.entry.expiresAtMs) return;
      this.#put(above, at);
      this.#put(node, (at - 1) >> 1);
    }
  }

  #down(node: Node): void {
    for (;;) {
      const at = node.place;
      const left = this.#heap[2 * at + 1];
      const right = this.#heap[2 * at + 2];
      if (left === undefined) return;
      const below = right !== undefined && right.entry.expiresAtMs < left.entry.expiresAtMs ? right : left;
      if (node.entry.expiresAtMs <= below.entry.expiresAtMs) return;
      const to = below.place;
      this.#put(below, at);
      this.#put(node, to);
    }
  }

  #put(node: Node, at: number): void {
    this.#heap[at] = node;
    node.place = at;
  }
}
