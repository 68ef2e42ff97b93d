import type { NamespaceConfig, NamespaceRules } from '@tidemark/proto';
import { Flights } from './flights.ts';
import type { L1Store } from './ports.ts';

/** What happened in a namespace since the start; plain integers, because the hit path counts too. */
export class NamespaceCounters {
  hitsL1 = 0;
  hitsL2 = 0;
  /** Callers that waited for another caller's fill and got it. */
  hitsCoalesced = 0;
  misses = 0;
  bypassed = 0;
  fills = 0;
  refusedFenced = 0;
  refusedExpired = 0;
  refusedMismatch = 0;
  evictedByKey = 0;
  evictedByTag = 0;
  evictedByFlush = 0;

  get refused(): number {
    return this.refusedFenced + this.refusedExpired + this.refusedMismatch;
  }
}

/** A namespace as this process serves it. */
export class Namespace {
  readonly name: string;
  readonly config: NamespaceConfig;
  /** Undefined where the namespace opted out of coherence (`invalidation: ttl_only`). */
  readonly rules: NamespaceRules | undefined;
  readonly l1: L1Store;
  readonly flights = new Flights();
  readonly counters = new NamespaceCounters();

  constructor(options: { name: string; config: NamespaceConfig; rules: NamespaceRules | undefined; l1: L1Store }) {
    this.name = options.name;
    this.config = options.config;
    this.rules = options.rules;
    this.l1 = options.l1;
  }
}
