import { keyTag, type NamespaceConfig, type NamespaceRules } from '@tidemark/proto';
import { Flights } from './flights.ts';
import type { Grace } from './grace.ts';
import { HotKeys } from './hot-keys.ts';
import type { PendingNamespace } from './pending-namespace.ts';
import type { Variants } from './variants.ts';
import type { L1Store, Loader } from './ports.ts';

/** What happened in a namespace since the start; plain integers, because the hit path counts too. */
export class NamespaceCounters {
  hitsL1 = 0;
  hitsL2 = 0;
  /** Callers that waited for another caller's fill and got it. */
  hitsCoalesced = 0;
  /** Values that the sidecar loaded itself, stored or not. */
  loaded = 0;
  passed = 0;
  /** Old values, for callers who take them. */
  hitsStale = 0;
  hitsGrace = 0;
  /** Writes that wait for the database. */
  hitsPending = 0;
  misses = 0;
  bypassed = 0;
  /** Callers whose value could not be loaded. */
  failed = 0;
  /** Loads that were begun although there was a value. */
  refreshes = 0;
  fills = 0;
  refusedFenced = 0;
  refusedExpired = 0;
  refusedMismatch = 0;
  evictedByKey = 0;
  evictedByTag = 0;
  evictedByPrefix = 0;
  evictedByFlush = 0;

  get refused(): number {
    return this.refusedFenced + this.refusedExpired + this.refusedMismatch;
  }
}

/** What a request finds by the name in its path; undefined for a name that is not served. */
export type Namespaces = Pick<ReadonlyMap<string, Namespace>, 'get'>;

/** Rules that no publisher covers and that are fenced for ever, by whatever replica: their index is nobody's. */
const NOBODYS: NamespaceRules = { index: -1, name: '', hash: 0n, hashHex: '' };

/** Nothing is refused for its size before it is known what is too large. */
const ANY_CONFIG: NamespaceConfig = {
  source: '',
  invalidation: 'rules',
  ttl: { hard: 0, negative: 0, staleIfError: 0, jitter: 0 },
  onInvalidate: 'evict',
  grace: undefined,
  l1: { maxBytes: 0, policy: 'lru' },
  l2: { enabled: false, compress: { enabled: false, over: 0 }, chunk: 0, lease: false },
  refresh: { early: 0, ahead: 0 },
  maxItemBytes: 16 * 1024 * 1024,
  invalidate: [],
};

const NOTHING: L1Store = {
  maxBytes: 0,
  bytes: 0,
  entries: 0,
  steps: 0,
  displaced: { bytes: 0, entries: 0, total_bytes: 0, total_entries: 0 },
  get: () => undefined,
  recent: () => [],
  tagged: () => [],
  set: () => false,
  restate: () => undefined,
  delete: () => 0,
  deleteTag: () => 0,
  clear: () => 0,
};

/** What stands for any namespace while it is not known which ones there are: it holds nothing and takes nothing. */
export function unconfigured(name: string): Namespace {
  return new Namespace({ name, config: ANY_CONFIG, rules: NOBODYS, l1: NOTHING });
}

/** Of the random times by which values are refreshed early, 0.7 % are longer: it is as if they were so long. */
const EARLY_REACH = 5;

/** A namespace as this process serves it. */
export class Namespace {
  readonly name: string;
  readonly config: NamespaceConfig;
  readonly l1: L1Store;
  readonly flights = new Flights();
  readonly counters: NamespaceCounters;
  /** Undefined where what was invalidated is not kept. */
  readonly grace: Grace | undefined;
  /** Undefined where a key has one value. */
  readonly variants: Variants | undefined;
  /** Undefined where applications load what is missing. */
  readonly loader: Loader | undefined;
  /** Undefined where no write waits for the database. What waits is answered before anything that is cached (SPEC I19). */
  readonly pending: PendingNamespace | undefined;
  /** What is read most, however the reads end. */
  readonly hot: HotKeys;
  /** How many load times before the end of its freshness an entry may be loaded anew; 0 for not before. */
  readonly earlyReach: number;
  #rules: NamespaceRules | undefined;

  constructor(options: {
    name: string;
    config: NamespaceConfig;
    rules: NamespaceRules | undefined;
    l1: L1Store;
    grace?: Grace | undefined;
    variants?: Variants | undefined;
    loader?: Loader | undefined;
    pending?: PendingNamespace | undefined;
    counters?: NamespaceCounters;
    hot?: HotKeys;
  }) {
    this.name = options.name;
    this.config = options.config;
    this.#rules = options.rules;
    this.l1 = options.l1;
    this.loader = options.loader;
    this.grace = options.grace;
    this.variants = options.variants;
    this.pending = options.pending;
    this.counters = options.counters ?? new NamespaceCounters();
    this.hot = options.hot ?? new HotKeys();
    // Who gets a lease with a value must know what to do with it, so callers who load are only asked where ttl.soft is set.
    const refreshes = this.loader !== undefined || this.config.ttl.soft !== undefined;
    this.earlyReach = refreshes ? EARLY_REACH * this.config.refresh.early : 0;
  }

  /** Whether the sidecar loads the value at this address; if not, callers do. */
  loads(address: string): boolean {
    return this.loader?.handles(this.variants === undefined ? address : this.variants.keyOf(address)) ?? false;
  }

  /** The tags of an entry: those that it was given, and that of its key where there are variants of it (SPEC I20). */
  tagsOf(address: string, tags: readonly string[]): readonly string[] {
    return this.variants === undefined ? tags : [...tags, keyTag(this.variants.keyOf(address))];
  }

  /** Undefined where the namespace opted out of coherence (`invalidation: ttl_only`). */
  get rules(): NamespaceRules | undefined {
    return this.#rules;
  }

  /** The same rules in another document, where they may have another index. */
  renumber(rules: NamespaceRules | undefined): void {
    this.#rules = rules;
  }

  /**
   * It is not served any more (SPEC I16). Requests that are under way may still hold it, so it is made one of which nothing is
   * covered: whatever they do, nothing is stored in it, and nothing that was is answered.
   */
  retire(): void {
    this.#rules = NOBODYS;
    this.l1.clear();
    this.grace?.clear();
  }
}
