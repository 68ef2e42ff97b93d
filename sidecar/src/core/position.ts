import type { Lsn } from '@tidemark/proto';

/** A place in a source's stream; positions of different epochs say nothing about each other (SPEC I10). */
export interface Position {
  readonly epoch: number;
  readonly lsn: Lsn;
}

/** What a caller wants to have been applied; without an epoch the number alone is compared, whatever the epoch. */
export interface Target {
  readonly epoch: number | undefined;
  readonly lsn: Lsn;
}
