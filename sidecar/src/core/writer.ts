import type { Lsn } from '@tidemark/proto';
import type { Namespace } from './namespace.ts';

/** What a caller wants written under a key. */
export interface WriteRequest {
  readonly namespace: Namespace;
  readonly key: string;
  /** Those of {@link Writer.headers} that the caller sent, by their names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Aborted when the caller has gone away: what was not begun need not be. */
  readonly signal: AbortSignal;
}

/** A new value for a key. */
export interface PutRequest extends WriteRequest {
  /** Owned by the writer from now on. */
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly tags: readonly string[];
  /** Shortens the life of what is cached of it, never lengthens it. */
  readonly maxAgeMs: number | undefined;
}

/**
 * Why nothing, or nobody knows what, was written.
 *
 * `busy`: too many writes wait. `unavailable`: what writes cannot be reached, or will take work again by itself. `timeout`: it was
 * ended in time, and nothing was written. `unknown`: it may have been written or not, and may still be. `conflict`: a constraint
 * of the database forbids it. `invalid`: it cannot be made of what the caller sent. `too-large`: the caller sent too much.
 * `misconfigured`: the statement or address of the configuration does not work.
 */
export type WriteFailure =
  | 'busy'
  | 'unavailable'
  | 'timeout'
  | 'unknown'
  | 'conflict'
  | 'invalid'
  | 'too-large'
  | 'misconfigured';

/** What came of a write. */
export type Written =
  | {
      readonly kind: 'written';
      /** At or after its commit; undefined where nobody could say. */
      readonly lsn: Lsn | undefined;
      /** Whether there was nothing under the key before; undefined where the database does not say. */
      readonly created: boolean | undefined;
    }
  /** It will be written (write-behind): from now on it is neither lost nor overtaken by an earlier write of the key. */
  | { readonly kind: 'accepted' }
  /** There was nothing to change: no row was touched. */
  | { readonly kind: 'nothing' }
  | {
      readonly kind: 'failed';
      readonly why: WriteFailure;
      /** In words for the caller; neither SQL nor what others sent. */
      readonly detail: string;
      /** Where Postgres gave one. */
      readonly sqlState?: string | undefined;
      /** Of one that is unknown: it was written by now or never will be. Undefined where nobody can say. */
      readonly isOver?: boolean;
    };

/** Writes the values of a namespace to where they are kept (`PUT` and `DELETE /v1/write`). Bounded in time; never rejects. */
export interface Writer {
  /** Header fields, in lower case, that it makes use of. */
  readonly headers: readonly string[];
  /** Absent where the configuration does not say how. */
  readonly put?: (request: PutRequest) => Promise<Written>;
  readonly delete?: (request: WriteRequest) => Promise<Written>;
}
