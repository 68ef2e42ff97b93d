import type { L1Policy } from '@tidemark/proto';
import type { Policy } from './policy.ts';
import { Queue } from './queue.ts';
import { RandomChoice } from './random.ts';
import { TtlFirst } from './ttl-first.ts';
import { WTinyLfu } from './w-tiny-lfu.ts';

/** @param fraction at least 0, below 1. */
export function createPolicy(name: L1Policy, fraction: () => number): Policy {
  switch (name) {
    case 'lru':
      return new Queue(true);
    case 'lfu':
      return new WTinyLfu(fraction);
    case 'fifo':
      return new Queue(false);
    case 'random':
      return new RandomChoice(fraction);
    case 'ttl':
      return new TtlFirst();
  }
}
