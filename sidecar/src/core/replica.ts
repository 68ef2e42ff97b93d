import {
  classify,
  decodeBatch,
  invalidate,
  type Batch,
  type CompiledRules,
  type DecodedBatch,
  type Lsn,
  type NamespaceRules,
  type Span,
  type Step,
} from '@tidemark/proto';
import { FencedMemory, type EvictionTarget } from './fenced-memory.ts';
import { Seals } from './seals.ts';
import type { ServerIdentity } from './server-identity.ts';

/** `starting`: no record seen yet. `stalled`: nothing heard for longer than the allowed staleness. */
export type ReplicaState = 'starting' | 'live' | 'stalled';

/** When a record's newest transaction was committed (0: it has none) and when it was made, microseconds since 1970. */
export interface RecordTimes {
  readonly committedAtUs: number;
  readonly publishedAtUs: number;
}

const NO_TIMES: RecordTimes = { committedAtUs: 0, publishedAtUs: 0 };
const NO_SERVER: ServerIdentity = { systemId: undefined, timeline: undefined };

/** What came of one record, for metrics and logs. */
export type Observed = Step | 'started' | 'too-new' | 'unreadable';

/** What decisions ask of a replica. */
export type ReplicaView = Pick<
  SourceReplica,
  'epoch' | 'applied' | 'visible' | 'horizon' | 'state' | 'covers' | 'newestFence' | 'settled'
>;

/**
 * One source as this sidecar knows it: the chain position W, the visible clock V, the fences above the horizon H, and
 * which namespaces the publisher serves. It applies records (SPEC I1, I3, I4, I8, I9, I10) and answers the questions on
 * which every read and fill hangs. Synchronous and pure but for the eviction target; all clocks are passed in.
 */
export class SourceReplica {
  #rules: CompiledRules;
  readonly #evict: EvictionTarget;
  readonly #maxStalenessMs: number;
  readonly #memory: FencedMemory;
  readonly #seals = new Seals();
  #started = false;
  #epoch = 0;
  #applied: Lsn = 0;
  #visible: Lsn = 0;
  /** The newest position that was ever applied in this epoch. */
  #newest: Lsn = 0;
  #covers: readonly bigint[] = [];
  #covered: boolean[];
  #heardAtMs = Number.NEGATIVE_INFINITY;
  /** The newest record that was seen is of an older epoch, or behind W: it is no sign of the publisher that is followed. */
  #hearsOlder = false;
  #times = NO_TIMES;
  #server = NO_SERVER;
  #unreadableBlocks = 0;

  /**
   * @param options.fenceSlots sizes of the fence memory; fewer mean more needless misses
   * @param options.maxNames of one namespace in one record, beyond which the namespace is flushed as a whole (SPEC I13)
   */
  constructor(options: {
    rules: CompiledRules;
    evict: EvictionTarget;
    maxStalenessMs: number;
    fenceSlots?: { readonly keySlots: number; readonly tagSlots: number };
    maxNames?: number;
  }) {
    this.#rules = options.rules;
    this.#evict = options.evict;
    this.#maxStalenessMs = options.maxStalenessMs;
    const { rules, evict, fenceSlots: slots = {}, maxNames } = options;
    this.#memory = new FencedMemory({ rules, evict, slots, maxNames });
    this.#covered = rules.namespaces.map(() => false);
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** W: everything up to here was applied. */
  get applied(): Lsn {
    return this.#applied;
  }

  /** V: every commit up to here is seen by new snapshots; what a lease carries as `asOf`. */
  get visible(): Lsn {
    return this.#visible;
  }

  /** H: the fence memory knows nothing at or below this; infinite while nothing at all is known. */
  get horizon(): Lsn {
    return this.#started ? this.#memory.horizon : Number.POSITIVE_INFINITY;
  }

  /** Of the newest record that was not a duplicate. */
  get times(): RecordTimes {
    return this.#times;
  }

  /** Whose WAL the newest record that was not a duplicate was read from. */
  get server(): ServerIdentity {
    return this.#server;
  }

  /** How many tables' blocks could not be read; each flushed the namespaces with a rule on its table. */
  get unreadableBlocks(): number {
    return this.#unreadableBlocks;
  }

  /** @param nowMs the monotonic clock that {@link heard} is told of. */
  state(nowMs: number): ReplicaState {
    if (!this.#started || this.#heardAtMs === Number.NEGATIVE_INFINITY) return 'starting';
    return nowMs - this.#heardAtMs > this.#maxStalenessMs ? 'stalled' : 'live';
  }

  /**
   * The feed was read to its end, and a record was among what it brought, by a request that was sent at this time. The
   * time of sending, not of receiving: a process that slept finds an old answer in its socket's buffer. Records of an older
   * epoch and repeated ones do not count: they say nothing of what our publisher may have written since.
   */
  heard(requestedAtMs: number): void {
    if (requestedAtMs > this.#heardAtMs && !this.#hearsOlder) this.#heardAtMs = requestedAtMs;
  }

  /** Whether the publisher sends this namespace's invalidations; where it does not, nothing may be cached. */
  covers(namespace: NamespaceRules): boolean {
    return this.#covered[namespace.index] as boolean;
  }

  /** A position at or above every invalidation above the horizon that concerns an entry; infinite where one is {@link seal sealed}. */
  newestFence(namespace: NamespaceRules, key: string, tags: readonly string[]): Lsn {
    if (this.#seals.has(namespace, key, tags)) return Number.POSITIVE_INFINITY;
    return this.#memory.newest(namespace, key, tags);
  }

  /** Whether a lease granted now could be filled: false while a change of the key is not visible to readers yet. */
  settled(namespace: NamespaceRules, key: string, tags: readonly string[] = []): boolean {
    return this.#visible >= this.horizon && this.newestFence(namespace, key, tags) <= this.#visible;
  }

  /** Applies one record of the feed. Never throws: what cannot be read is a gap. */
  observe(record: Uint8Array): Observed {
    let decoded: DecodedBatch;
    try {
      decoded = decodeBatch(record);
    } catch {
      this.lost();
      return 'unreadable';
    }
    if (decoded.kind === 'too-new') return this.#observeTooNew(decoded.span, decoded.visible);
    const { batch } = decoded;
    const step = this.#classify(batch);
    this.#hearsOlder = this.#isOlder(step, batch);
    if (step !== 'duplicate' && step !== 'stale-epoch') {
      const { committedAtUs, publishedAtUs, systemId, timeline } = batch;
      this.#times = { committedAtUs, publishedAtUs };
      this.#server = { systemId, timeline };
    }
    if (step === 'next') this.#apply(batch);
    else if (step === 'duplicate') this.#observeDuplicate(batch);
    else if (step !== 'stale-epoch') {
      this.#begin(batch, batch.visible);
      this.#learnCovers(batch);
    }
    return step;
  }

  /**
   * A change of a key is known before the stream tells of it; it was committed at or before `lsn`, undefined where nobody knows
   * when. What is held under the key and the tags goes, and nothing older comes in its place: "a phantom, never a hole" (SPEC I4).
   */
  changed(namespace: NamespaceRules, what: { key: string; tags: readonly string[]; lsn: Lsn | undefined }): void {
    if (this.#rules.namespaces[namespace.index] === namespace)
      this.#memory.raise(namespace, { ...what, lsn: what.lsn ?? 0 });
  }

  /** A change of these names is known, and nobody knows where it was committed: nothing is kept under them until the answer is called. */
  seal(namespace: NamespaceRules, names: readonly string[]): () => void {
    return this.#seals.seal(namespace, names);
  }

  /** Continuity is gone and the next position is unknown: flush, and answer misses until a record starts us again. */
  lost(): void {
    this.#started = false;
    this.#flush();
  }

  /**
   * As in a process that has only just started: the next record begins, whatever its epoch. Leases that are out must be
   * forgotten with it, because the epoch of before may come back.
   */
  startOver(): void {
    this.lost();
    this.#epoch = 0;
    this.#newest = 0;
    this.#heardAtMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * Other rules from here on (SPEC I16). Fences are kept by the index of a namespace, which may be another's now, so all of them
   * are forgotten and H rises to the newest position that was applied; leases that are out must be forgotten with it. What is
   * in memory of namespaces whose rules are the same stays valid at W. The eviction target must know the new indexes already.
   */
  reconfigure(rules: CompiledRules): void {
    this.#rules = rules;
    this.#memory.reconfigure(rules, this.#newest);
    const covers = new Set(this.#covers);
    this.#covered = rules.namespaces.map(({ hash }) => covers.has(hash));
  }

  #observeTooNew(span: Span, visible: Lsn): Observed {
    const step = this.#classify(span);
    this.#hearsOlder = this.#isOlder(step, span);
    if (step === 'duplicate' || step === 'stale-epoch') return step;
    // It may begin an epoch, and does not say where.
    this.#server = NO_SERVER;
    this.#begin(span, visible);
    return 'too-new';
  }

  #isOlder(step: Step | 'started', { to }: Span): boolean {
    return step === 'stale-epoch' || (step === 'duplicate' && to < this.#applied);
  }

  #classify(span: Span): Step | 'started' {
    if (this.#started) return classify({ epoch: this.#epoch, applied: this.#applied }, span);
    return span.epoch < this.#epoch ? 'stale-epoch' : 'started';
  }

  /**
   * SPEC I9: nothing below `to` is known, so nothing cached before it can be checked. Where the stream went back within an
   * epoch (Kafka lost what it had acknowledged), the fences of what was applied beyond `to` are forgotten too, so the
   * horizon stays above all of them.
   */
  #begin(span: Span, visible: Lsn): void {
    this.#newest = span.epoch === this.#epoch ? Math.max(span.to, this.#newest) : span.to;
    this.#started = true;
    this.#epoch = span.epoch;
    this.#applied = span.to;
    this.#visible = visible;
    this.#memory.restart(this.#newest);
    this.#flush();
  }

  #apply(batch: Batch): void {
    for (const { text, commit } of batch.marks ?? []) {
      const lsn = batch.commits[commit];
      if (lsn !== undefined)
        this.#evict.mark(text, lsn, !batch.purges.some((purge) => batch.commits[purge.commit] === lsn));
    }
    this.#learnCovers(batch);
    if (batch.tables.length > 0 || batch.purges.length > 0) {
      this.#memory.beginRecord(batch.to);
      this.#unreadableBlocks += invalidate(this.#rules, batch, this.#memory).unreadable;
    }
    this.#applied = batch.to;
    this.#newest = Math.max(this.#newest, batch.to);
    this.#see(batch.visible);
  }

  /** On an idle database coverage and visibility change without the position. */
  #observeDuplicate(batch: Batch): void {
    if (batch.to === this.#applied) this.#learnCovers(batch);
    this.#see(batch.visible);
  }

  #see(visible: Lsn): void {
    if (visible > this.#visible) this.#visible = Math.min(visible, this.#applied);
  }

  /** A namespace that gains or loses its coverage is fenced: what was loaded meanwhile might have missed a change. */
  #learnCovers(batch: Batch): void {
    if (sameCovers(batch.covers, this.#covers)) return;
    this.#covers = batch.covers;
    const covers = new Set(batch.covers);
    for (const namespace of this.#rules.namespaces) {
      const covered = covers.has(namespace.hash);
      if (covered === this.#covered[namespace.index]) continue;
      this.#covered[namespace.index] = covered;
      this.#memory.namespace(namespace, batch.to);
    }
  }

  #flush(): void {
    this.#memory.flush(this.#rules.namespaces, this.#applied);
  }
}

function sameCovers(a: readonly bigint[], b: readonly bigint[]): boolean {
  return a.length === b.length && a.every((hash, i) => hash === b[i]);
}
