import { List, Places } from './list.ts';
import type { Node } from './node.ts';
import type { Policy } from './policy.ts';

/** The longest unused goes first. */
export class Lru implements Policy {
  #places = new Places();
  #list = new List(this.#places);

  added(node: Node): void {
    this.#places.take(node);
    this.#list.pushFirst(node);
  }

  replaced(node: Node, bytesBefore: number): void {
    this.#list.resized(node.bytes - bytesBefore);
    this.#list.moveFirst(node);
  }

  used(node: Node): void {
    this.#list.moveFirst(node);
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
