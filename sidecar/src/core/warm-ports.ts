import type { Claimable } from './ports.ts';

/** Why there are no keys, in words. */
export interface NoKeys {
  readonly failed: string;
}

/** The keys of each namespace that sidecars read most, which they keep together. No call rejects; each is bounded in time. */
export interface HotList {
  /** False while there is no point in calling. */
  readonly available: boolean;
  /** Adds what this process reads most, the hottest first. */
  add(namespace: Claimable, keys: readonly string[]): Promise<void>;
  /** At most so many, the hottest first. */
  read(namespace: Claimable, most: number): Promise<readonly string[] | NoKeys>;
}

/** Keys that a query yields. Bounded in time; never rejects. */
export interface KeySource {
  /** At most so many, in the order of the query. */
  keys(sql: string, most: number): Promise<readonly string[] | NoKeys>;
}
