import type { Cluster, ProcessName } from '../cluster.ts';

/** Ends a fault; it has ended when this settles, but what it has done may take longer to mend. */
export type Heal = () => Promise<void>;

/** A way to break things. */
export interface FaultKind {
  readonly name: string;
  /** What happens, in a few words; `{target}` stands for whom it strikes. */
  readonly says: string;
  /** Whom it can strike. */
  readonly targets: readonly string[];
  /** Parts that it breaks: faults that break a part in common never come together. */
  readonly breaks: (target: string) => readonly string[];
  /** Parts that it needs whole, besides those that it breaks. */
  readonly needs?: (target: string) => readonly string[];
  /** How long it lasts, at least and at most, in ms; what comes at once is over at once. */
  readonly lastsMs: readonly [number, number];
  start(cluster: Cluster, target: string, events: FaultEvents): Promise<Heal>;
}

/** What the rest of a run must know of what a fault does. */
export interface FaultEvents {
  /** A process is about to end on purpose. */
  readonly ending: (name: ProcessName) => void;
  /** A standby is about to become the primary, by `promote`. */
  readonly promotion: (promote: () => Promise<void>) => Promise<void>;
}
