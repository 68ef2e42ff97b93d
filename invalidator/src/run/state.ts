/** What the process is doing: waiting for servers, waiting for another invalidator, doing its job, or ending. */
export const STATES = ['starting', 'standby', 'streaming', 'restarting', 'stopping'] as const;
export type State = (typeof STATES)[number];

/** A state with what a person wants to know of it. */
export interface Status {
  readonly state: State;
  readonly detail: string;
  /** It does what it is there for: it streams, or it waits for its turn as a standby by Lease. */
  readonly isReady: boolean;
}
