import { warmDefaults } from '@tidemark/proto';
import type { Coalescer } from './coalescer.ts';
import type { Outcome } from './flights.ts';
import type { L2Look } from './l2-look.ts';
import type { Namespace, Namespaces } from './namespace.ts';
import { Pace } from './pace.ts';
import type { Clock, Random } from './ports.ts';
import { WarmBoard } from './warm-board.ts';
import {
  NO_RESULTS,
  WarmingJob as Job,
  type WarmEnd,
  type WarmJob,
  type WarmOrder,
  type WarmResult,
} from './warm-job.ts';
import { keysOf } from './warm-keys.ts';
import type { HotList, KeySource } from './warm-ports.ts';
import { warmRead } from './warm-read.ts';
import { atATime, displacedIn, isFull, isHeld, type Held } from './warm-room.ts';

/** Keys that are looked at in one go. */
const KEYS_PER_STEP = 256;
/** How long it waits until something can be cached, and how often it looks. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 250;
const LONGEST_MS = 30 * 60_000;
/** So many keys in a row that could not be got mean that none can. */
const MAX_FAILURES = 20;

/**
 * Reads keys into L1 before anybody asks for them, one warming at a time. It takes what a read would take (warm-read.ts), yields to requests
 * that wait (pace.ts), and stops where memory would have to give something up for it.
 */
export class Warmer {
  /** Keys by how they ended, and warmings that have, by namespace. */
  readonly counts = new Map<
    string,
    { readonly keys: Record<WarmResult, number>; readonly ends: Map<WarmEnd, number> }
  >();
  readonly #parts: {
    readonly namespaces: Namespaces;
    readonly coalescer: Coalescer;
    readonly look: L2Look;
    readonly clock: Clock;
    readonly random: Random;
    readonly hotList: HotList | undefined;
    readonly keySource: KeySource | undefined;
    readonly total: Held;
    readonly loadPool: number;
  };
  readonly #board = new WarmBoard();
  /** Those that wait for their turn, in their order. */
  #queue: Job[] = [];
  #current:
    | {
        readonly job: Job;
        readonly namespace: Namespace;
        readonly pace: Pace;
        /** When it came to its turn. */
        readonly beganMs: number;
        readonly displaced: number;
      }
    | undefined;
  #underWay = 0;
  #isStopped = false;
  #cancelTimer: () => void = () => undefined;

  constructor(parts: {
    namespaces: Namespaces;
    coalescer: Coalescer;
    look: L2Look;
    clock: Clock;
    random: Random;
    /** Undefined without Redis. */
    hotList: HotList | undefined;
    /** Undefined without a database. */
    keySource: KeySource | undefined;
    /** What L1 holds, of all namespaces. */
    total: Held;
    /** Connections that values are loaded through by SQL. */
    loadPool: number;
  }) {
    this.#parts = parts;
  }

  /** Warmings that wait or are under way. */
  get pending(): number {
    return this.#board.unended().length;
  }

  /** Whether one of a namespace waits or is under way that the schedule began. */
  isScheduled(namespace: string): boolean {
    return this.#board.unended().some(({ order }) => order.by === 'schedule' && order.namespace === namespace);
  }

  /** The newest last. */
  jobs(): readonly WarmJob[] {
    return this.#board.shown(this.#parts.clock.monotonicMs());
  }

  /** Its id; undefined when too many wait already, or the process ends. */
  order(order: WarmOrder): string | undefined {
    const job = new Job(this.#parts.random.token(), order);
    if (this.#isStopped || !this.#board.add(job)) return undefined;
    this.#queue.push(job);
    this.#next();
    return job.id;
  }

  /** Keys that are under way end as they do. False where there is no such warming, or it has ended. */
  cancel(id: string): boolean {
    const job = this.#board.get(id);
    if (job === undefined || job.state === 'ended') return false;
    this.#end(job, 'cancelled');
    return true;
  }

  cancelAll(): void {
    for (const { id } of this.#board.unended()) this.cancel(id);
  }

  /** Ends all, and none begins any more. */
  stop(): void {
    this.#isStopped = true;
    this.cancelAll();
  }

  #next(): void {
    if (this.#current !== undefined) return;
    const job = this.#queue.shift();
    if (job === undefined) return;
    const { clock, namespaces } = this.#parts;
    const nowMs = clock.monotonicMs();
    if (job.state === 'waiting') job.beganMs = nowMs;
    job.state = 'running';
    const namespace = namespaces.get(job.order.namespace);
    if (namespace === undefined) {
      this.#end(job, 'unavailable', 'the namespace is not served any more');
      return;
    }
    const { rate, concurrency: asked } = namespace.config.warm ?? warmDefaults;
    const concurrency = atATime(namespace.config, asked, this.#parts.loadPool);
    const pace = new Pace({ rate, concurrency, nowMs });
    this.#current = { job, namespace, pace, beganMs: nowMs, displaced: displacedIn(namespace) };
    if (job.keys !== undefined) {
      this.#soon();
      return;
    }
    void keysOf(this.#parts, namespace, job.order).then((keys) => {
      if (job.state === 'ended') return;
      if ('failed' in keys) {
        this.#end(job, 'unavailable', keys.failed);
        return;
      }
      job.keys = [...new Set(keys)].slice(0, job.order.most);
      job.total = job.keys.length;
      this.#go();
    });
  }

  #go(): void {
    this.#cancelTimer();
    const waitMs = this.#step();
    if (waitMs === undefined) return;
    this.#cancelTimer = this.#parts.clock.after(waitMs, () => this.#go());
  }

  /** Begins what may begin. How long until the next look; undefined where there is nothing to look for. */
  #step(): number | undefined {
    const current = this.#current;
    if (current === undefined) return undefined;
    const { job, namespace, pace } = current;
    const { clock, coalescer, namespaces, total } = this.#parts;
    const { keys } = job;
    if (keys === undefined) return undefined;
    for (let looks = 0; looks < KEYS_PER_STEP; looks++) {
      // A key may have ended at once, and the warming with it.
      if (this.#current !== current) return undefined;
      const nowMs = clock.monotonicMs();
      const key = keys[job.at];
      if (key === undefined) {
        if (job.underWay === 0) this.#end(job, 'done');
        return undefined;
      }
      if (namespaces.get(namespace.name) !== namespace)
        return this.#over(job, 'unavailable', 'its settings have changed');
      if (nowMs - job.beganMs > LONGEST_MS) return this.#over(job, 'too-long');
      if (isFull(namespace, total) || displacedIn(namespace) > current.displaced) return this.#over(job, 'full');
      const why = this.#obstacle(namespace, key);
      if (why !== undefined) {
        job.idleSinceMs ??= nowMs;
        // Whoever waited long for others has a look at it for as long as all have.
        if (nowMs - current.beganMs < LOOK_MS) return LOOK_MS;
        if (nowMs - job.idleSinceMs >= PATIENCE_MS) return this.#over(job, 'unavailable', why);
        if (this.#queue.length === 0) return LOOK_MS;
        // What can go on is not kept waiting by what cannot.
        this.#queue.push(job);
        this.#current = undefined;
        this.#next();
        return undefined;
      }
      job.idleSinceMs = undefined;
      if (isHeld(namespace, key, clock.wallMs())) {
        job.at += 1;
        this.#count(job, 'present');
        continue;
      }
      const waiting = Math.max(0, coalescer.waiting - this.#underWay);
      const turn = pace.next(nowMs, { underWay: job.underWay, waiting });
      if (!turn.begins) return turn.waitMs;
      job.at += 1;
      this.#read(job, namespace, key);
    }
    return 1;
  }

  /** Why a read would leave nothing in memory now; undefined where it may. */
  #obstacle(namespace: Namespace, key: string): string | undefined {
    const { coalescer, look } = this.#parts;
    const bypass = coalescer.bypass(namespace);
    if (bypass !== undefined) return `nothing could be cached: ${bypass}`;
    if (!namespace.loads(key))
      return look.available(namespace) ? undefined : 'nothing loads the values, and there is no L2 to get them from';
    // Also at a start, while what was committed before is not visible yet: then no fill is as new as the horizon (SPEC I5).
    return coalescer.isUnsettled(namespace, key) ? 'a change is not visible to readers of the database yet' : undefined;
  }

  #read(job: Job, namespace: Namespace, key: string): void {
    job.underWay += 1;
    this.#underWay += 1;
    const begun = warmRead(this.#parts, namespace, key, (outcome) => this.#onRead(job, outcome));
    if (begun) return;
    job.underWay -= 1;
    this.#underWay -= 1;
    this.#count(job, 'present');
  }

  #onRead(job: Job, outcome: Outcome): void {
    job.underWay -= 1;
    this.#underWay -= 1;
    const result = resultOf(outcome);
    this.#count(job, result);
    job.failures = result === 'failed' ? job.failures + 1 : 0;
    if (this.#current?.job !== job) return;
    if (job.failures >= MAX_FAILURES) this.#end(job, 'failing', outcome.kind === 'failed' ? outcome.detail : undefined);
    // Not here: it may be told in the middle of a step.
    else this.#soon();
  }

  #soon(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#parts.clock.after(0, () => this.#go());
  }

  #over(job: Job, end: WarmEnd, detail?: string): undefined {
    this.#end(job, end, detail);
    return undefined;
  }

  #end(job: Job, end: WarmEnd, detail?: string): void {
    job.state = 'ended';
    job.end = end;
    job.detail = detail;
    job.endedMs = this.#parts.clock.monotonicMs();
    const { ends } = this.#countsOf(job);
    ends.set(end, (ends.get(end) ?? 0) + 1);
    job.forgetKeys();
    this.#queue = this.#queue.filter((each) => each !== job);
    if (this.#current?.job === job) {
      this.#cancelTimer();
      this.#current = undefined;
    }
    this.#next();
  }

  #count(job: Job, result: WarmResult): void {
    job.results[result] += 1;
    this.#countsOf(job).keys[result] += 1;
  }

  #countsOf({ order: { namespace } }: Job) {
    let counts = this.counts.get(namespace);
    if (counts === undefined) {
      counts = { keys: { ...NO_RESULTS }, ends: new Map() };
      this.counts.set(namespace, counts);
    }
    return counts;
  }
}

function resultOf(outcome: Outcome): WarmResult {
  if (outcome.kind === 'miss') return 'absent';
  if (outcome.kind !== 'value') return 'failed';
  if (outcome.from === 'l2') return 'shared';
  return outcome.from === 'loaded' ? 'loaded' : 'present';
}
