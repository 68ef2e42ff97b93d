import { nextCronMs, type WarmConfig } from '@tidemark/proto';
import type { Namespace } from './namespace.ts';
import type { Clock, Random } from './ports.ts';
import type { HotList } from './warm-ports.ts';
import type { Warmer } from './warmer.ts';

/** How often a sidecar tells the others what it reads most; the first time sooner, for those that start with it. */
const TELL_MS = 60_000;
const FIRST_TELL_MS = 10_000;
/** Keys that it tells of each namespace. */
const MAX_TOLD = 1_000;
/** Redis is reached a moment after the start; where it stays away, there may be SQL. */
const REDIS_PATIENCE_MS = 60_000;
/** Of the time between two warmings, and of that between two tellings: so much sooner or later, so that pods differ. */
const JITTER = 0.1;
/** So much later than `cron` says at most, for the same reason. */
const CRON_JITTER_MS = 30_000;

interface Schedule {
  readonly sinceMs: number;
  isStarted: boolean;
  /** By the clock of the schedule; Infinity without `every` and `cron`. */
  nextMs: number;
}

/** Begins warmings when a namespace comes to be served and when its time has come, and keeps the list of what is read most. */
export class WarmTriggers {
  readonly #parts: {
    readonly namespaces: ReadonlyMap<string, Namespace>;
    readonly warmer: Warmer;
    readonly hotList: HotList | undefined;
    readonly clock: Clock;
    readonly random: Random;
  };
  readonly #schedules = new WeakMap<Namespace, Schedule>();
  #tellMs: number;

  constructor(parts: {
    namespaces: ReadonlyMap<string, Namespace>;
    warmer: Warmer;
    hotList: HotList | undefined;
    clock: Clock;
    random: Random;
  }) {
    this.#parts = parts;
    this.#tellMs = parts.clock.monotonicMs() + FIRST_TELL_MS * parts.random.fraction();
  }

  /** To be called about once a second. */
  check(): void {
    const { namespaces, clock } = this.#parts;
    const nowMs = clock.monotonicMs();
    for (const namespace of namespaces.values()) this.#check(namespace, nowMs);
    if (nowMs < this.#tellMs) return;
    this.#tellMs = nowMs + this.#jittered(TELL_MS);
    void this.tell();
  }

  /** Tells the others what is read most here; also before a process ends, because one that lives shortly has no other time. */
  async tell(): Promise<void> {
    const { namespaces, hotList } = this.#parts;
    if (hotList?.available !== true) return;
    for (const namespace of namespaces.values()) {
      const keys = namespace.config.warm === undefined ? [] : namespace.hot.hottest(MAX_TOLD);
      if (keys.length > 0) await hotList.add(namespace.rules ?? namespace.name, keys);
    }
  }

  #check(namespace: Namespace, nowMs: number): void {
    const { name, config } = namespace;
    const { warm } = config;
    if (warm === undefined) return;
    const schedule = this.#scheduleOf(namespace, warm, nowMs);
    if (!schedule.isStarted) {
      const isPatient = nowMs - schedule.sinceMs < REDIS_PATIENCE_MS;
      schedule.isStarted = warm.atStart === 0 || this.#begin(name, warm.atStart, isPatient);
    }
    if (this.#nowMs(warm) < schedule.nextMs) return;
    const what = warm.sql === undefined ? 'hot' : 'sql';
    const { warmer } = this.#parts;
    // What takes longer than the time between two would pile up, and keep others waiting.
    const isOn = warmer.isScheduled(name);
    if (!isOn && warmer.order({ namespace: name, by: 'schedule', what, most: warm.most }) === undefined) return;
    schedule.nextMs = this.#nextMs(warm);
  }

  /** Whether it was begun, or there is nothing that it could be begun with. */
  #begin(namespace: string, most: number, isPatient: boolean): boolean {
    const { hotList, namespaces, warmer } = this.#parts;
    if (hotList === undefined && namespaces.get(namespace)?.config.warm?.sql === undefined) return true;
    if (hotList?.available === false && isPatient) return false;
    return warmer.order({ namespace, by: 'start', what: 'hot', most }) !== undefined;
  }

  #scheduleOf(namespace: Namespace, warm: WarmConfig, nowMs: number): Schedule {
    let schedule = this.#schedules.get(namespace);
    if (schedule === undefined) {
      schedule = { sinceMs: nowMs, isStarted: false, nextMs: this.#nextMs(warm) };
      this.#schedules.set(namespace, schedule);
    }
    return schedule;
  }

  /** By the clock that its schedule goes by: the time of the day for `cron`, for `every` one that nobody sets. */
  #nowMs({ cron }: WarmConfig): number {
    const { clock } = this.#parts;
    return cron === undefined ? clock.monotonicMs() : clock.wallMs();
  }

  /** When it is due next. */
  #nextMs(warm: WarmConfig): number {
    const { every = Number.POSITIVE_INFINITY, cron, timezone = 'UTC' } = warm;
    const nowMs = this.#nowMs(warm);
    if (cron === undefined) return nowMs + this.#jittered(every);
    const dueMs = nextCronMs({ cron, timezone }, nowMs) ?? Number.POSITIVE_INFINITY;
    return dueMs + CRON_JITTER_MS * this.#parts.random.fraction();
  }

  #jittered(ms: number): number {
    return ms * (1 - JITTER + 2 * JITTER * this.#parts.random.fraction());
  }
}
