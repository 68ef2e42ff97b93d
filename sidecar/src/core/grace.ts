import type { Entry, NamespaceConfig } from '@tidemark/proto';
import { mayStandIn, worthOf, type Accepts } from './freshness.ts';
import type { Clock, SharedRoom, Tenant } from './ports.ts';

/** Of the memory that the namespace's entries may have. */
const SHARE = 1 / 4;

interface Kept {
  readonly entry: Entry;
  readonly bytes: number;
  /** When it was invalidated, by the monotonic clock: a wall clock that is set back must not make it younger. */
  readonly sinceMs: number;
}

export interface GraceOptions {
  readonly clock: Pick<Clock, 'wallMs' | 'monotonicMs'>;
  /** What an entry occupies, as L1 counts it. */
  readonly sizeOf: (key: string, entry: Entry) => number;
  /** What all namespaces share; none where nothing bounds them together. */
  readonly room?: SharedRoom | undefined;
}

/**
 * What was invalidated, for those who would rather have an old value than none (`onInvalidate: stale`). It stands beside L1, so that
 * presence in L1 still proves coherence (SPEC I6), and what is answered from here never counts as coherent. Bounded by bytes, by time and
 * by the total of the process, of which it has a share of its own; the one that was invalidated first goes first.
 */
export class Grace implements Tenant {
  readonly maxBytes: number;
  readonly #kept = new Map<string, Kept>();
  readonly #config: NonNullable<NamespaceConfig['grace']>;
  readonly #options: GraceOptions;
  #bytes = 0;

  constructor(options: GraceOptions & { config: NonNullable<NamespaceConfig['grace']>; l1Bytes: number }) {
    this.#config = options.config;
    this.maxBytes = options.l1Bytes * SHARE;
    this.#options = options;
  }

  /** Undefined for a namespace that does not keep what was invalidated. */
  static of({ grace: config, l1 }: NamespaceConfig, options: GraceOptions): Grace | undefined {
    return config && new Grace({ ...options, config, l1Bytes: l1.maxBytes });
  }

  get entries(): number {
    return this.#kept.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** An entry was invalidated, and is in L1 no more. Amortized O(1). */
  keep(key: string, entry: Entry): void {
    const { clock, sizeOf, room } = this.#options;
    this.delete(key);
    const bytes = sizeOf(key, entry);
    if (bytes > this.maxBytes || clock.wallMs() >= entry.keepUntilMs) return;
    this.#kept.set(key, { entry, bytes, sinceMs: clock.monotonicMs() });
    this.#changed(bytes, 1);
    this.sweep();
    while (this.#bytes > this.maxBytes) this.displace();
    room?.settle();
  }

  /** A value took its place. */
  delete(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    this.#kept.delete(key);
    this.#changed(-kept.bytes, -1);
  }

  clear(): void {
    const { size } = this.#kept;
    this.#kept.clear();
    this.#changed(-this.#bytes, -size);
  }

  /** Gives up the one that was invalidated first. */
  displace(): void {
    const oldest = this.#kept.keys().next();
    if (!oldest.done) this.delete(oldest.value);
  }

  /** Lets go of what was invalidated too long ago to be shown; now and then, so that it takes no room from others. Amortized O(1). */
  sweep(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const { sinceMs } of this.#kept.values()) {
      if (nowMs - sinceMs <= this.#config.for) return;
      this.displace();
    }
  }

  /**
   * An entry that the caller takes although it was invalidated; `failed` where it could not be loaded anew. That it was invalidated makes
   * no caller take what is older, or longer past its TTL, than it takes of L1.
   */
  find(key: string, { accepts, failed }: { accepts: Accepts; failed: boolean }): Entry | undefined {
    if (!accepts.grace || this.#kept.size === 0) return undefined;
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    const { entry, sinceMs } = kept;
    const { clock } = this.#options;
    const staleMs = clock.monotonicMs() - sinceMs;
    if (staleMs > this.#longestMs(accepts, failed)) return undefined;
    const wallMs = clock.wallMs();
    // What has changed will not stay fresh for any time.
    const isTaken = accepts.minFreshMs === 0 && worthOf(entry, accepts, wallMs) !== 'refused';
    return isTaken || (failed && mayStandIn(entry, accepts, wallMs)) ? entry : undefined;
  }

  #longestMs({ maxStaleMs, staleIfErrorMs }: Accepts, failed: boolean): number {
    const { for: longestMs, serve } = this.#config;
    if (serve === 'always') return longestMs;
    const onError = failed ? (staleIfErrorMs ?? (serve === 'on-error' ? longestMs : -1)) : -1;
    return Math.min(longestMs, Math.max(maxStaleMs > 0 ? maxStaleMs : -1, onError));
  }

  #changed(bytes: number, entries: number): void {
    this.#bytes += bytes;
    this.#options.room?.changed(this, { bytes, entries });
  }
}
