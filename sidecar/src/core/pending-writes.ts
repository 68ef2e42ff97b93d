import { decodePendingWrite, parseFlushedMark, type Lsn } from '@tidemark/proto';
import { PendingNamespace, type EtagOf } from './pending-namespace.ts';
import type { Position } from './position.ts';
import type { ReplicaView } from './replica.ts';

/** How far writes were flushed when a position was told: everything below the offset is in the database at that position. */
export interface FlushedAt extends Position {
  readonly offset: number;
}

/** What one look into the topic of writes brought. */
export interface WriteDelivery {
  /** In the order of their offsets. */
  readonly records: readonly { readonly offset: number; readonly value: Uint8Array }[];
  readonly nextOffset: number;
  /** Whether nothing was left to read when it was asked for. */
  readonly caughtUp: boolean;
  /** When it was asked for, by the monotonic clock. */
  readonly requestedAtMs: number;
}

/**
 * The acknowledged writes that are not in the database yet, as far as this sidecar serves their namespaces (SPEC I19). They are read
 * from their topic, beginning where the database says that all before is flushed; a mark in the stream says that more were. They
 * are kept until V has passed the flush: from then on every load shows it, and what was cached before was evicted.
 *
 * Where it cannot be known what waits, {@link bypass} says so. Pure; the clock is passed in.
 */
export class PendingWrites {
  readonly #topic: string;
  readonly #replica: Pick<ReplicaView, 'epoch' | 'applied' | 'visible'>;
  readonly #maxStalenessMs: number;
  readonly #etagOf: EtagOf;
  readonly #namespaces = new Map<string, PendingNamespace>();
  /** Marks that V has not passed yet, by their positions. */
  #marks: { readonly offset: number; readonly lsn: Lsn }[] = [];
  #flushed = 0;
  #beganAt: FlushedAt | undefined;
  #next = 0;
  #wasCaughtUp = false;
  #heardAtMs = Number.NEGATIVE_INFINITY;
  #passing: { readonly offset: number; readonly settle: () => void }[] = [];

  /** @param options.maxStalenessMs after so long without an answer of Kafka it is not known what was written */
  constructor(options: {
    topic: string;
    replica: Pick<ReplicaView, 'epoch' | 'applied' | 'visible'>;
    maxStalenessMs: number;
    etagOf: EtagOf;
  }) {
    this.#topic = options.topic;
    this.#replica = options.replica;
    this.#maxStalenessMs = options.maxStalenessMs;
    this.#etagOf = options.etagOf;
  }

  /** A namespace whose writes are to be known; {@link restart} and {@link begin} again afterwards. */
  serve(name: string, maxBytes: number): PendingNamespace {
    const namespace = new PendingNamespace(this, { maxBytes, etagOf: this.#etagOf });
    this.#namespaces.set(name, namespace);
    return namespace;
  }

  retire(name: string): void {
    this.#namespaces.delete(name);
  }

  /** Everything in the topic below this offset was read, or flushed before. */
  get next(): number {
    return this.#next;
  }

  get namespaces(): ReadonlyMap<string, PendingNamespace> {
    return this.#namespaces;
  }

  /** Undefined while every write that was acknowledged by now, or some milliseconds ago by another sidecar, is known or flushed. */
  bypass(nowMs: number): 'starting' | 'stalled' | undefined {
    const at = this.#beganAt;
    const { epoch, applied } = this.#replica;
    if (at === undefined || !this.#wasCaughtUp || epoch !== at.epoch || applied < at.lsn) return 'starting';
    return nowMs - this.#heardAtMs > this.#maxStalenessMs ? 'stalled' : undefined;
  }

  /** Whether a namespace overflowed and would not any more: {@link restart}. */
  get wantsRestart(): boolean {
    return [...this.#namespaces.values()].some((each) => each.isWorthAnother(this.#flushed));
  }

  /** Nothing is known any more, because marks may have been missed: {@link begin} anew. */
  restart(): void {
    this.#beganAt = undefined;
    this.#wasCaughtUp = false;
    this.#marks = [];
    this.#flushed = 0;
    for (const namespace of this.#namespaces.values()) namespace.clear();
  }

  /** The topic is read from this offset on, from now on. What marks have said since {@link restart} holds too. */
  begin(at: FlushedAt): void {
    this.#beganAt = at;
    this.#wasCaughtUp = false;
    this.#next = at.offset;
    this.#flushed = Math.max(this.#flushed, at.offset);
    this.#heardAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Takes what was read. Nothing before {@link begin}. */
  take({ records, nextOffset, caughtUp, requestedAtMs }: WriteDelivery): void {
    if (this.#beganAt === undefined) return;
    this.settle();
    for (const { offset, value } of records) {
      if (offset >= this.#flushed) this.#put(offset, value);
    }
    this.#next = Math.max(this.#next, nextOffset);
    if (caughtUp) {
      this.#wasCaughtUp = true;
      this.#heardAtMs = Math.max(this.#heardAtMs, requestedAtMs);
    }
    this.#settlePassed();
  }

  /** A mark of the stream, without its first word, at its commit position. */
  mark(rest: string, lsn: Lsn): void {
    const offset = parseFlushedMark(this.#topic, rest);
    const newest = this.#marks.at(-1);
    if (offset === undefined || offset <= this.#flushed || (newest !== undefined && offset <= newest.offset)) return;
    this.#marks.push({ offset, lsn });
  }

  /** Lets go of what V has passed. To be called before anything is read; O(1) where nothing is new. */
  settle(): void {
    const [first] = this.#marks;
    if (first === undefined || first.lsn > this.#replica.visible) return;
    const { visible } = this.#replica;
    const still = this.#marks.filter(({ lsn }) => lsn > visible);
    const newest = this.#marks[this.#marks.length - still.length - 1] as { offset: number };
    this.#flushed = Math.max(this.#flushed, newest.offset);
    this.#marks = still;
    for (const namespace of this.#namespaces.values()) namespace.flushed(this.#flushed);
    this.#settlePassed();
  }

  /** Calls back, at once or later, when a write at this offset is seen by reads here. Answers a function that forgets it. */
  whenPassed(offset: number, settle: () => void): () => void {
    if (this.#hasPassed(offset)) {
      settle();
      return () => undefined;
    }
    const waiting = { offset, settle };
    this.#passing.push(waiting);
    return () => {
      this.#passing = this.#passing.filter((each) => each !== waiting);
    };
  }

  #hasPassed(offset: number): boolean {
    return this.#beganAt !== undefined && (offset < this.#next || offset < this.#flushed);
  }

  #settlePassed(): void {
    if (this.#passing.length === 0) return;
    const passed = this.#passing.filter(({ offset }) => this.#hasPassed(offset));
    if (passed.length === 0) return;
    this.#passing = this.#passing.filter(({ offset }) => !this.#hasPassed(offset));
    for (const { settle } of passed) settle();
  }

  #put(offset: number, value: Uint8Array): void {
    const decoded = decodePendingWrite(value);
    if (decoded.kind === 'write') this.#namespaces.get(decoded.write.namespace)?.put(offset, decoded.write);
    // What nobody can read is parked by the flusher, and was acknowledged by nobody.
    else if (decoded.kind === 'too-new') for (const namespace of this.#namespaces.values()) namespace.blind(offset);
  }
}
