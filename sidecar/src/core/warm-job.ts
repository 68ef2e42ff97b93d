/** Where the keys come from: the caller, the list of what sidecars read most, or a query. */
export type WarmWhat = 'keys' | 'hot' | 'sql';
/** Who wanted it. */
export type WarmBy = 'start' | 'request' | 'schedule';
/**
 * How it ended. `full`: memory has no room that is not used. `unavailable`: nothing could be cached, or no list was to be had, for too long.
 * `failing`: one key after the other could not be got. `too-long`: it was not done in time.
 */
export type WarmEnd = 'done' | 'cancelled' | 'full' | 'unavailable' | 'failing' | 'too-long';

/** How keys ended. `present`: it was in memory, or somebody was getting it. `absent`: L2 does not have it, and the caller would load it. */
export type WarmResult = 'loaded' | 'shared' | 'present' | 'absent' | 'failed';

/** One warming, as `GET /v1/warm` shows it. */
export interface WarmJob {
  readonly id: string;
  readonly namespace: string;
  readonly what: WarmWhat;
  readonly by: WarmBy;
  readonly state: 'waiting' | 'running' | 'ended';
  readonly end: WarmEnd | null;
  /** In words, where there is more to say. */
  readonly detail: string | null;
  /** Null until the keys are known. */
  readonly total: number | null;
  readonly done: number;
  readonly results: Readonly<Record<WarmResult, number>>;
  /** Keys a second since it began. */
  readonly rate: number;
}

/** What is asked for. */
export interface WarmOrder {
  readonly namespace: string;
  readonly by: WarmBy;
  readonly what: WarmWhat;
  /** With `keys`. */
  readonly keys?: readonly string[];
  /** Beyond them keys are left out. */
  readonly most: number;
}

export const NO_RESULTS: Readonly<Record<WarmResult, number>> = {
  loaded: 0,
  shared: 0,
  present: 0,
  absent: 0,
  failed: 0,
};

/** One warming on its way. */
export class WarmingJob {
  readonly id: string;
  order: WarmOrder;
  readonly results: Record<WarmResult, number> = { ...NO_RESULTS };
  /** Undefined until they are known, and when it is over. */
  keys: readonly string[] | undefined;
  total: number | undefined;
  /** The next key. */
  at = 0;
  underWay = 0;
  failures = 0;
  state: WarmJob['state'] = 'waiting';
  end: WarmEnd | undefined;
  detail: string | undefined;
  beganMs = 0;
  endedMs = 0;
  /** Since when nothing could be cached. */
  idleSinceMs: number | undefined;

  constructor(id: string, order: WarmOrder) {
    this.id = id;
    this.order = order;
  }

  /** What it has to remember of them is given up. */
  forgetKeys(): void {
    const { keys: _, ...order } = this.order;
    this.order = order;
    this.keys = undefined;
  }

  get done(): number {
    const { loaded, shared, present, absent, failed } = this.results;
    return loaded + shared + present + absent + failed;
  }

  shown(nowMs: number): WarmJob {
    const { id, order, state, end = null, detail = null, total = null, done, results } = this;
    const ms = (state === 'ended' ? this.endedMs : nowMs) - this.beganMs;
    const rate = state === 'waiting' || ms <= 0 ? 0 : Math.round((done * 10_000) / ms) / 10;
    const { namespace, what, by } = order;
    return { id, namespace, what, by, state, end, detail, total, done, results: { ...results }, rate };
  }
}
