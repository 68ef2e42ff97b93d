import type { Entry, Lsn } from '@tidemark/proto';
import { distinct, type BatchItem } from './distinct.ts';
import { isKept, type BypassReason, type Outcome, type ValueOutcome, type Waiter } from './flights.ts';
import { USUAL, type Accepts } from './freshness.ts';
import type { Namespace } from './namespace.ts';
import type { Passing } from './passing.ts';
import type { Clock } from './ports.ts';
import type { Positions } from './positions.ts';
import { mayLoad, type Reader, type ReadMode } from './reader.ts';
import type { ReplicaView } from './replica.ts';
import type { Unmet } from './sessions.ts';
import type { Watermark } from './watermark.ts';

/**
 * Why there is no snapshot. `missing`: not everything is cached. `changing`: some of it was invalidated again and again.
 * `behind`: what was loaded last was not applied in time. `no-position`: nobody knows how new a value may be.
 */
export type NoSnapshot = 'missing' | 'changing' | 'behind' | 'no-position';

export interface BatchAnswer {
  /** In the order of the items. */
  readonly outcomes: readonly Outcome[];
  /** Where all values held; undefined where that was not asked for. */
  readonly snapshot: { readonly at: Lsn } | { readonly failed: NoSnapshot } | undefined;
}

export interface BatchRequest {
  readonly items: readonly BatchItem[];
  readonly mode: ReadMode;
  /** Whether all values should have held at one position. Only for namespaces that are coherent. */
  readonly snapshot: boolean;
  /** What of the cache the caller takes; the usual where it does not say, and never anything in grace for a snapshot. */
  readonly accepts?: Accepts;
  /** Why nothing of the cache may be answered to this caller, but what follows no positions. */
  readonly unmet?: Unmet | undefined;
  /** Called once, in a tick in which everything in the answer may be served. */
  readonly settle: (answer: BatchAnswer) => void;
}

export interface BatchReaderOptions {
  readonly reader: Pick<Reader, 'read' | 'leave'>;
  readonly passing: Pick<Passing, 'isFor' | 'read'>;
  readonly replica: ReplicaView;
  readonly watermark: Watermark;
  readonly positions: Positions;
  readonly clock: Clock;
  /** Longest that a snapshot is tried for; reads of single keys have limits of their own. */
  readonly timeoutMs: number;
}

/** How often what was invalidated meanwhile is read again. */
const MAX_ROUNDS = 8;
/** The same once each value stands for itself. */
const MAX_PLAIN_ROUNDS = 2;
const NUDGE_MS = 20;
const CHANGING = 'the value was invalidated each time it was read';

/**
 * Reads many keys at once, if wanted as of one position (SPEC I15): an entry reflects everything up to W while it is in L1, and
 * shows nothing committed after its `loadedAt`. So once W has reached the greatest of those and every entry is still there, all
 * of them are what the database said at W.
 */
export class BatchReader {
  readonly counters = { batches: 0, snapshots: 0, rounds: 0, missing: 0, changing: 0, behind: 0, 'no-position': 0 };
  readonly #options: BatchReaderOptions;

  constructor(options: BatchReaderOptions) {
    this.#options = options;
  }

  /** The answer ends it; `settle` is not called then. */
  read(request: BatchRequest): () => void {
    this.counters.batches += 1;
    const { items, places } = distinct(request.items);
    const holds: Holds = (namespace, key, outcome) => this.holds(namespace, key, outcome);
    const run = new Run(this.#options, { ...request, items }, holds);
    run.start(({ outcomes, snapshot }, rounds) => {
      if (snapshot !== undefined) {
        this.counters.rounds += rounds;
        this.counters['failed' in snapshot ? snapshot.failed : 'snapshots'] += 1;
      }
      request.settle({ outcomes: places.map((place) => outcomes[place] as Outcome), snapshot });
    });
    return () => run.leave();
  }

  /** Whether an entry that was read may still be served: what was invalidated is gone from L1. */
  protected holds(namespace: Namespace, key: string, { entry, from }: ValueOutcome): boolean {
    const isTooOld = from !== 'stale' && entry.expiresAtMs <= this.#options.clock.wallMs();
    return namespace.l1.get(key) === entry && !isTooOld;
  }
}

type Holds = (namespace: Namespace, key: string, outcome: ValueOutcome) => boolean;

/** One batch on its way. */
class Run {
  readonly #options: BatchReaderOptions;
  readonly #request: BatchRequest;
  readonly #holds: Holds;
  readonly #outcomes: (Outcome | undefined)[];
  /** By place of the item. */
  readonly #waiters = new Map<number, Waiter>();
  readonly #deadlineMs: number;
  #rounds = 0;
  /** Those of them after it was clear that there is no snapshot, or that none is wanted. */
  #plainRounds = 0;
  #failed: NoSnapshot | undefined;
  /** Something was read from the origin because the cache cannot answer it. */
  #isPassed = false;
  #open = 0;
  #isDone = false;
  #cancel: () => void = () => undefined;
  #finish: (answer: BatchAnswer, rounds: number) => void = () => undefined;

  constructor(options: BatchReaderOptions, request: BatchRequest, holds: Holds) {
    this.#options = options;
    this.#request = request;
    this.#holds = holds;
    this.#outcomes = request.items.map(() => undefined);
    this.#deadlineMs = options.clock.monotonicMs() + options.timeoutMs;
  }

  start(finish: (answer: BatchAnswer, rounds: number) => void): void {
    this.#finish = finish;
    this.#round();
  }

  leave(): void {
    this.#isDone = true;
    this.#cancel();
    for (const waiter of this.#waiters.values()) this.#options.reader.leave(waiter);
  }

  /** Reads what is not there, then goes on. */
  #round(): void {
    const { items, mode, snapshot, unmet, accepts: asked = USUAL } = this.#request;
    const accepts = snapshot ? { ...asked, grace: false } : asked;
    this.#rounds += 1;
    // One more than there are, so that nothing goes on while reads are still being begun.
    this.#open = 1;
    for (const [i, item] of items.entries()) {
      if (this.#outcomes[i] !== undefined) continue;
      this.#open += 1;
      const settle = (outcome: Outcome): void => {
        this.#waiters.delete(i);
        if (outcome.kind === 'bypass' && this.#pass(i, item, outcome.why)) return;
        this.#outcomes[i] = outcome;
        this.#settled();
      };
      if (unmet !== undefined && item.namespace.rules !== undefined) {
        item.namespace.counters.bypassed += 1;
        settle({ kind: 'bypass', why: unmet });
        continue;
      }
      const waiter = this.#options.reader.read({ ...item, mode, accepts, settle });
      if (waiter !== undefined) this.#waiters.set(i, waiter);
    }
    this.#settled();
  }

  /** False where the caller has to load it. */
  #pass(i: number, { namespace, key }: BatchItem, why: BypassReason): boolean {
    const { passing } = this.#options;
    if (!mayLoad(this.#request.mode) || !passing.isFor(namespace, key, why)) return false;
    this.#isPassed = true;
    void passing.read(namespace, key).then((passed) => {
      this.#outcomes[i] = passed.kind === 'failed' ? passed : { ...passed, from: 'passed' };
      this.#settled();
    });
    return true;
  }

  #settled(): void {
    this.#open -= 1;
    if (this.#open > 0 || this.#isDone) return;
    const { snapshot, unmet } = this.#request;
    const isWhole = this.#outcomes.every((outcome) => outcome?.kind === 'value');
    if (!snapshot || this.#plainRounds > 0) this.#end(this.#failed);
    else if (unmet !== undefined) this.#end(unmet === 'no-position' ? unmet : 'behind');
    else if (!isWhole || this.#isPassed) this.#end('missing');
    else if (this.#isAllKept()) this.#bound();
    else this.#compare();
  }

  /** Finds out how new each value may be at most. */
  #bound(): void {
    const unknown = this.#entries().filter(({ loadedAt }) => loadedAt === undefined);
    let open = 1 + unknown.length;
    const settle = (): void => {
      open -= 1;
      if (open > 0 || this.#isDone) return;
      if (this.#entries().every(({ loadedAt }) => loadedAt !== undefined)) this.#wait();
      else this.#end('no-position');
    };
    for (const entry of unknown) this.#options.positions.learn(entry, settle);
    settle();
  }

  #wait(): void {
    const { watermark, clock, replica, positions } = this.#options;
    const lsn = Math.max(0, ...this.#entries().map(({ loadedAt }) => loadedAt ?? 0));
    const target = { epoch: replica.epoch, lsn };
    if (watermark.look(target) === 'reached') {
      this.#compare();
      return;
    }
    const timers: (() => void)[] = [];
    this.#cancel = () => {
      leave();
      for (const cancel of timers) cancel();
    };
    const proceed = (go: () => void): void => {
      if (this.#isDone) return;
      this.#cancel();
      go();
    };
    let leave: () => void = () => undefined;
    timers.push(
      clock.after(Math.max(0, this.#deadlineMs - clock.monotonicMs()), () => proceed(() => this.#end('behind'))),
      clock.after(NUDGE_MS, () =>
        positions.ask((position) => {
          if (position?.epoch !== target.epoch || position.lsn >= lsn) return;
          // No change can stand where the database has not been yet, whatever a loader said.
          for (const entry of this.#entries()) positions.cap(entry, position);
          proceed(() => this.#wait());
        }),
      ),
    );
    leave = watermark.wait(target, (reached) =>
      proceed(() => (reached === 'crowded' ? this.#end('behind') : this.#compare())),
    );
  }

  /** In one tick: what is still there now holds at W. */
  #compare(): void {
    const gone = this.#dropGone();
    if (gone === 0 && this.#isAllKept()) this.#end({ at: this.#options.replica.applied });
    else if (this.#rounds >= MAX_ROUNDS || this.#options.clock.monotonicMs() >= this.#deadlineMs) this.#end('changing');
    else {
      this.#dropLoose();
      this.#round();
    }
  }

  /** What was loaded for its caller alone may lack a change up to W, so it has no place in a snapshot. */
  #isAllKept(): boolean {
    return this.#outcomes.every((outcome) => outcome?.kind !== 'value' || isKept(outcome.from));
  }

  #dropLoose(): void {
    for (const [i, outcome] of this.#outcomes.entries())
      if (outcome?.kind === 'value' && !isKept(outcome.from)) this.#outcomes[i] = undefined;
  }

  /** Answers in a tick in which everything that is answered may be served. */
  #end(snapshot: { at: Lsn } | NoSnapshot | undefined): void {
    const gone = this.#dropGone();
    if (gone > 0 && this.#plainRounds < MAX_PLAIN_ROUNDS) {
      this.#plainRounds += 1;
      if (typeof snapshot === 'string') this.#failed = snapshot;
      this.#round();
      return;
    }
    this.#settleGone();
    this.#isDone = true;
    const told = typeof snapshot === 'string' ? { failed: snapshot } : snapshot;
    this.#finish({ outcomes: this.#outcomes as Outcome[], snapshot: told }, this.#rounds);
  }

  /** Forgets values that may not be served any more; answers how many. */
  #dropGone(): number {
    let gone = 0;
    for (const [i, { namespace, key }] of this.#request.items.entries()) {
      const outcome = this.#outcomes[i];
      if (outcome?.kind !== 'value' || !isKept(outcome.from) || this.#holds(namespace, key, outcome)) continue;
      this.#outcomes[i] = undefined;
      gone += 1;
    }
    return gone;
  }

  /** What comes and goes is a miss, whose lease the caller gets at once; or a failure, where the sidecar is who loads. */
  #settleGone(): void {
    for (const [i, item] of this.#request.items.entries()) {
      if (this.#outcomes[i] !== undefined) continue;
      const settle = (outcome: Outcome): void => void (this.#outcomes[i] = outcome);
      if (!mayLoad(this.#request.mode)) settle({ kind: 'miss', lease: undefined });
      else if (item.namespace.loads(item.key)) settle({ kind: 'failed', why: 'changing', detail: CHANGING });
      else this.#options.reader.read({ ...item, mode: 'reload', settle });
    }
  }

  #entries(): readonly Entry[] {
    return this.#outcomes.flatMap((outcome) => (outcome?.kind === 'value' ? [outcome.entry] : []));
  }
}
