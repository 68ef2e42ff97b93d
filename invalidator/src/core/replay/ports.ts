import type { ReplayOutput, ReplayRecord } from './engine.ts';
import type { LogMark } from './raiser.ts';

/** Records in their order, from a topic or from a capture. */
export interface RecordStream {
  /**
   * Gives the records to `take`, some at a time and each once, until it answers false, the signal aborts, or there are no
   * more. Rejects when they cannot be read.
   */
  read(take: (records: readonly ReplayRecord[]) => Promise<boolean>, signal: AbortSignal): Promise<void>;
  /** How much of how much was read, in units of its own; the whole is undefined where it is not known. */
  progress(): { readonly done: number; readonly total: number | undefined };
}

/** Where invalidations go. What it was told is kept in memory until it is flushed. */
export interface ReplayTarget {
  readonly output: ReplayOutput;
  /** Roughly the bytes that a flush would send. */
  readonly pending: number;
  /** Where the fence logs stood, for a later run; empty for other targets. */
  readonly marks: readonly (LogMark | null)[];
  /** Resolves once everything that was told is where it belongs, for good. */
  flush(): Promise<void>;
  /** Everything was told. Resolves to what a person should know of it, one line each. */
  finish(): Promise<readonly string[]>;
  close(): void;
}
