import type { Node } from './node.ts';

/**
 * Decides which entry of a namespace goes when there is no room. It is told of every node that comes, is used and goes; the
 * store removes. Every call is O(1), `ranked` for each node that is taken of it, or O(log n) where a policy says so.
 */
export interface Policy {
  added(node: Node): void;
  /** Another value stands under the key; the node had so many bytes before. */
  replaced(node: Node, bytesBefore: number): void;
  /** For every hit: allocates nothing. */
  used(node: Node): void;
  /** It was deleted, or was the victim. */
  removed(node: Node): void;
  /** What goes next; it may be what was just added. Undefined where there is nothing. */
  victim(): Node | undefined;
  /** All nodes, those first that would be kept longest, as far as the policy knows. None may come or go meanwhile. */
  ranked(): Iterable<Node>;
  /** All nodes are gone. O(1). */
  clear(): void;
}
