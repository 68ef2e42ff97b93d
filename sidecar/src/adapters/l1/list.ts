import { Node } from './node.ts';

/** Nodes in an order, linked through themselves: each step is O(1) and allocates nothing. A node is in one list at most. */
export class List implements Iterable<Node> {
  readonly #ends = Node.ends();
  #bytes = 0;

  /** What its nodes occupy together. */
  get bytes(): number {
    return this.#bytes;
  }

  get first(): Node | undefined {
    return this.#ends.next === this.#ends ? undefined : this.#ends.next;
  }

  get last(): Node | undefined {
    return this.#ends.prev === this.#ends ? undefined : this.#ends.prev;
  }

  pushFirst(node: Node): void {
    this.#bytes += node.bytes;
    this.#link(node);
  }

  remove(node: Node): void {
    this.#bytes -= node.bytes;
    unlink(node);
    node.prev = node;
    node.next = node;
  }

  moveFirst(node: Node): void {
    if (this.#ends.next === node) return;
    unlink(node);
    this.#link(node);
  }

  /** A node of it became so much larger, or smaller if negative. */
  resized(byBytes: number): void {
    this.#bytes += byBytes;
  }

  *[Symbol.iterator](): Iterator<Node> {
    for (let node = this.#ends.next; node !== this.#ends; node = node.next) yield node;
  }

  #link(node: Node): void {
    const { next } = this.#ends;
    node.prev = this.#ends;
    node.next = next;
    next.prev = node;
    this.#ends.next = node;
  }
}

function unlink({ prev, next }: Node): void {
  prev.next = next;
  next.prev = prev;
}
