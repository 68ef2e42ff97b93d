import type { Entry } from '@tidemark/proto';

const NOTHING = {} as Entry;

/** An entry in its place. One class for every policy: a hit then meets objects of one shape only. */
export class Node {
  readonly key: string;
  entry: Entry;
  /** What it occupies, overhead included. */
  bytes: number;
  /** Where the policy keeps it: its number in {@link Places}, or in an array. */
  place = 0;
  /** Which of several lists it is in, where a policy has several. */
  region = 0;
  /** Of the key, where the policy needs one. */
  hash = 0;

  constructor(key: string, entry: Entry, bytes: number) {
    this.key = key;
    this.entry = entry;
    this.bytes = bytes;
  }

  /** Holds a place without being an entry. */
  static nobody(): Node {
    return new Node('', NOTHING, 0);
  }
}
