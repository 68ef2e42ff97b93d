import type { Coalescer } from './coalescer.ts';
import type { Clock, FeedListener } from './ports.ts';
import type { Observed, ReplicaState, SourceReplica } from './replica.ts';
import type { Watermark } from './watermark.ts';

/** Told what a person should know; called once a change, not once a record. */
export interface FollowerEvents {
  state(state: ReplicaState, before: ReplicaState): void;
  /** Anything but the next record of the chain or a duplicate. */
  irregular(observed: Observed | 'reset', details: object): void;
  /** A record with changes was applied so many milliseconds after its newest commit, by the clocks of two machines. */
  applied(lagMs: number): void;
}

/** Two heartbeats were missed. */
const SILENT_MS = 2_500;

/** Feeds the replica and lets those who wait know what has changed. */
export class Follower implements FeedListener {
  /** How often each kind of record came, resets included. */
  readonly observed = new Map<Observed | 'reset', number>();
  readonly #replica: SourceReplica;
  readonly #coalescer: Coalescer;
  readonly #watermark: Watermark;
  readonly #clock: Clock;
  readonly #events: FollowerEvents;
  readonly #onSettled: () => void;
  #state: ReplicaState = 'starting';
  #lagMs = 0;
  #heardAtMs: number;

  constructor(options: {
    replica: SourceReplica;
    coalescer: Coalescer;
    watermark: Watermark;
    clock: Clock;
    events: FollowerEvents;
    /** Told when a record was applied, or everything was flushed, as a whole; before those who wait for it. */
    onSettled?: () => void;
  }) {
    this.#replica = options.replica;
    this.#coalescer = options.coalescer;
    this.#watermark = options.watermark;
    this.#clock = options.clock;
    this.#events = options.events;
    this.#onSettled = options.onSettled ?? (() => undefined);
    this.#heardAtMs = options.clock.monotonicMs();
  }

  /**
   * Milliseconds from the newest commit, or else from the making of the record, to its application; while the publisher's
   * heartbeats (one a second) fail to come, the time for which nothing was heard.
   */
  get lagMs(): number {
    const silentMs = this.#clock.monotonicMs() - this.#heardAtMs;
    return silentMs > SILENT_MS ? Math.max(silentMs, this.#lagMs) : this.#lagMs;
  }

  record(bytes: Uint8Array): void {
    const observed = this.#observe(bytes);
    this.#note(observed, {});
    this.#measure(observed);
    this.#settle();
  }

  reset(reason: string): void {
    this.#replica.lost();
    this.#note('reset', { reason });
    this.#settle();
  }

  heard(requestedAtMs: number): void {
    this.#replica.heard(requestedAtMs);
    this.#heardAtMs = Math.max(this.#heardAtMs, requestedAtMs);
    this.checkState();
  }

  /** To be called now and then: a stall is the absence of events. */
  checkState(): void {
    const state = this.#replica.state(this.#clock.monotonicMs());
    if (state === this.#state) return;
    const before = this.#state;
    this.#state = state;
    this.#events.state(state, before);
  }

  /**
   * A publisher of an older epoch is ignored, but not for ever: where nobody else is heard, the newer epoch is gone from
   * Kafka (which lost what it had acknowledged, or a topic that was made anew), and the older one is what there is.
   */
  #observe(bytes: Uint8Array): Observed {
    const observed = this.#replica.observe(bytes);
    if (observed !== 'stale-epoch' || this.#replica.state(this.#clock.monotonicMs()) === 'live') return observed;
    this.#replica.startOver();
    this.#coalescer.forgetLeases();
    return this.#replica.observe(bytes);
  }

  #measure(observed: Observed): void {
    if (observed === 'duplicate' || observed === 'stale-epoch' || observed === 'unreadable') return;
    const { committedAtUs, publishedAtUs } = this.#replica.times;
    this.#lagMs = Math.max(0, this.#clock.wallMs() - (committedAtUs || publishedAtUs) / 1000);
    if (observed === 'next' && committedAtUs > 0) this.#events.applied(this.#lagMs);
  }

  #settle(): void {
    this.#onSettled();
    this.#coalescer.settleDoomed();
    this.#watermark.advanced();
  }

  #note(observed: Observed | 'reset', details: object): void {
    this.observed.set(observed, (this.observed.get(observed) ?? 0) + 1);
    if (observed === 'next' || observed === 'duplicate') return;
    const { epoch, applied } = this.#replica;
    this.#events.irregular(observed, { epoch, applied, ...details });
  }
}
