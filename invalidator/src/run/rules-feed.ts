import type { Refusal } from '../core/coverage.ts';
import type { RuleSet } from '../core/rule-set.ts';

/** What the newest record claimed, and why it does not claim the rest. */
export interface CoverageReport {
  /** Hashes in its `covers`. */
  readonly covers: readonly bigint[];
  readonly refusals: readonly Refusal[];
  /** Whether some namespace is served by the catalog, but not claimed before older transactions have ended. */
  readonly isSettling: boolean;
}

/** The rules of one session. */
export interface RulesTurn {
  readonly rules: RuleSet;
  /** Whether records still claim what is retired. */
  readonly claimsRetired: () => boolean;
  /** Aborts when there are other rules: the session ends in good order, and the next one begins. */
  readonly changed: AbortSignal;
  /** Told of each record that Kafka has. */
  readonly onPublished: (report: CoverageReport) => void;
}

/** Where a session gets its rules from. */
export interface RulesFeed {
  next(): RulesTurn;
}
