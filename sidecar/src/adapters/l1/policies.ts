import type { L1Policy } from '@tidemark/proto';
import { Fifo } from './fifo.ts';
import { Lru } from './lru.ts';
import type { Policy } from './policy.ts';
import { RandomChoice } from './random.ts';
import { TtlFirst } from './ttl-first.ts';
import { WTinyLfu } from './w-tiny-lfu.ts';

/** @param fraction at least 0, below 1. */
export function createPolicy(name: L1Policy, fraction: () => number): Policy {
  switch (name) {
    case 'lru':
      return new Lru();
    case 'lfu':
      return new WTinyLfu(fraction);
    case 'fifo':
      return new Fifo();
    case 'random':
      return new RandomChoice(fraction);
    case 'ttl':
      return new TtlFirst();
  }
}
