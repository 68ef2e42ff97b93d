import type { Entry, NamespaceConfig } from '@tidemark/proto';
import type { Accepts } from './freshness.ts';
import type { Clock } from './ports.ts';

/** Of the memory that the namespace's entries may have. */
const SHARE = 1 / 4;
/** What an entry occupies besides its body, roughly; see the L1 store for a measured figure. */
const OVERHEAD_BYTES = 1_000;

interface Kept {
  readonly entry: Entry;
  /** When it was invalidated, by the wall clock. */
  readonly sinceMs: number;
}

/**
 * What was invalidated, for those who would rather have an old value than none (`onInvalidate: stale`). It stands beside L1, so that
 * presence in L1 still proves coherence (SPEC I6), and what is answered from here never counts as coherent. Bounded by bytes; the one
 * that was invalidated first goes first.
 */
export class Grace {
  readonly #kept = new Map<string, Kept>();
  readonly #config: NonNullable<NamespaceConfig['grace']>;
  readonly #maxBytes: number;
  readonly #clock: Pick<Clock, 'wallMs'>;
  #bytes = 0;

  constructor(options: {
    config: NonNullable<NamespaceConfig['grace']>;
    l1Bytes: number;
    clock: Pick<Clock, 'wallMs'>;
  }) {
    this.#config = options.config;
    this.#maxBytes = options.l1Bytes * SHARE;
    this.#clock = options.clock;
  }

  /** Undefined for a namespace that does not keep what was invalidated. */
  static of({ grace: config, l1 }: NamespaceConfig, clock: Pick<Clock, 'wallMs'>): Grace | undefined {
    return config && new Grace({ config, l1Bytes: l1.maxBytes, clock });
  }

  get entries(): number {
    return this.#kept.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** An entry was invalidated. Amortized O(1). */
  keep(key: string, entry: Entry): void {
    const nowMs = this.#clock.wallMs();
    const bytes = sizeOf(key, entry);
    this.delete(key);
    if (bytes > this.#maxBytes) return;
    this.#kept.set(key, { entry, sinceMs: nowMs });
    this.#bytes += bytes;
    for (const [oldest, kept] of this.#kept) {
      if (this.#bytes <= this.#maxBytes && nowMs - kept.sinceMs <= this.#config.for) return;
      this.delete(oldest);
    }
  }

  /** A value took its place. */
  delete(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    this.#kept.delete(key);
    this.#bytes -= sizeOf(key, kept.entry);
  }

  clear(): void {
    this.#kept.clear();
    this.#bytes = 0;
  }

  /** An entry that the caller takes although it was invalidated; `failed` where it could not be loaded anew. */
  find(key: string, { accepts, failed }: { accepts: Accepts; failed: boolean }): Entry | undefined {
    if (!accepts.grace || this.#kept.size === 0) return undefined;
    const nowMs = this.#clock.wallMs();
    const kept = this.#kept.get(key);
    if (kept === undefined || nowMs >= kept.entry.keepUntilMs) return undefined;
    const staleMs = nowMs - kept.sinceMs;
    return staleMs <= this.#longestMs(accepts, failed) ? kept.entry : undefined;
  }

  #longestMs({ maxStaleMs, staleIfErrorMs }: Accepts, failed: boolean): number {
    const { for: longestMs, serve } = this.#config;
    if (serve === 'always') return longestMs;
    const onError = failed ? (staleIfErrorMs ?? (serve === 'on-error' ? longestMs : -1)) : -1;
    return Math.min(longestMs, Math.max(maxStaleMs > 0 ? maxStaleMs : -1, onError));
  }
}

function sizeOf(key: string, { body }: Entry): number {
  return OVERHEAD_BYTES + key.length + body.length;
}
