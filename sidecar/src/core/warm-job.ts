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
