import { List, Places } from './list.ts';
import type { Node } from './node.ts';
import type { Policy } from './policy.ts';

/** The entry that has waited longest goes first: since its last use (`lru`), or since it was stored, whoever uses it (`fifo`). */
export class Queue implements Policy {
  readonly #usesCount: boolean;
  #places = new Places();
  #list = new List(this.#places);

  /** @param usesCount whether a use begins the wait anew */
  constructor(usesCount: boolean) {
    this.#usesCount = usesCount;
  }

  added(node: Node): void {
    this.#places.take(node);
    this.#list.pushFirst(node);
  }

  replaced(node: Node, bytesBefore: number): void {
    this.#list.resized(node.bytes - bytesBefore);
    this.#list.moveFirst(node);
  }

  used(node: Node): void {
    if (this.#usesCount) this.#list.moveFirst(node);
  }

  removed(node: Node): void {
    this.#list.remove(node);
    this.#places.release(node);
  }

  victim(): Node | undefined {
    return this.#list.last;
  }

  ranked(): Iterable<Node> {
    return this.#list;
  }

  clear(): void {
    this.#places = new Places();
    this.#list = new List(this.#places);
  }
}
