import type { Entry } from '@tidemark/proto';

const NOTHING = {} as Entry;

/** An entry in its place. One class for every policy: a hit then meets objects of one shape only. */
export class Node {
  readonly key: string;
  entry: Entry;
  /** What it occupies, overhead included. */
  bytes: number;
  /** Neighbours in a {@link List}; itself while it is in none. */
  prev: Node = this;
  next: Node = this;
  /** What the policy notes: which of its lists it is in, or where in its array. */
  place = 0;
  /** Of the key, where the policy needs one. */
  hash = 0;

  constructor(key: string, entry: Entry, bytes: number) {
    this.key = key;
    this.entry = entry;
    this.bytes = bytes;
  }

  /** The two ends of a list in one. */
  static ends(): Node {
    return new Node('', NOTHING, 0);
  }
}
