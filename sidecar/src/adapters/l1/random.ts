import type { Node } from './node.ts';
import type { Policy } from './policy.ts';

/** Any of them goes. No order is kept, so a hit costs nothing, and no pattern of requests is the worst. */
export class RandomChoice implements Policy {
  readonly #fraction: () => number;
  /** Each node notes where it stands. */
  #nodes: Node[] = [];

  /** @param fraction at least 0, below 1. */
  constructor(fraction: () => number) {
    this.#fraction = fraction;
  }

  added(node: Node): void {
    node.place = this.#nodes.length;
    this.#nodes.push(node);
  }

  replaced(): void {}

  used(): void {}

  /** The last one takes its place. */
  removed(node: Node): void {
    const last = this.#nodes.pop();
    if (last === undefined || last === node) return;
    last.place = node.place;
    this.#nodes[node.place] = last;
  }

  victim(): Node | undefined {
    return this.#nodes[Math.floor(this.#fraction() * this.#nodes.length)];
  }

  *ranked(): Iterable<Node> {
    for (let at = this.#nodes.length - 1; at >= 0; at--) yield this.#nodes[at] as Node;
  }

  clear(): void {
    this.#nodes = [];
  }
}
