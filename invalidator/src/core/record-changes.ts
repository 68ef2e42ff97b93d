import type { Lsn, Mark, Purge } from '@tidemark/proto';
import type { ChangeBounds } from './bounds.ts';
import { TableBuffer } from './table-buffer.ts';
import type { TransactionChanges } from './transaction-changes.ts';

/** What one transaction, or one message outside of any, adds to a record. */
export interface CommittedChanges {
  readonly commit: Lsn;
  readonly committedAtUs: number;
  readonly changes: TransactionChanges;
}

/** Encoded blocks, purges and marks of a record. */
export interface EncodedChanges {
  readonly commits: readonly Lsn[];
  /** Of the newest transaction; 0 without any. */
  readonly committedAtUs: number;
  readonly tables: readonly { schema: string; table: string; changes: Uint8Array }[];
  readonly purges: readonly Purge[];
  readonly marks: readonly Mark[];
}

/** Collects committed transactions, in stream order, into what one record can hold. */
export class RecordChanges {
  readonly #bounds: ChangeBounds;
  readonly #commits: Lsn[] = [];
  readonly #purges: Purge[] = [];
  readonly #marks: Mark[] = [];
  #tables = new Map<string, TableBuffer>();
  #bytes = 0;
  #rows = 0;
  #collapses = 0;
  #committedAtUs = 0;

  constructor(bounds: ChangeBounds) {
    this.#bounds = bounds;
  }

  get empty(): boolean {
    return this.#commits.length === 0;
  }

  get rows(): number {
    return this.#rows;
  }

  get collapses(): number {
    return this.#collapses;
  }

  /** Whether it still fits; the first one always does, because a transaction's own bounds are no larger. */
  fits(changes: TransactionChanges): boolean {
    if (this.empty) return true;
    if (this.#commits.length >= this.#bounds.maxCommits || this.#bytes + changes.bytes > this.#bounds.maxBytes)
      return false;
    for (const [name, buffer] of changes.tables) {
      const present = this.#tables.get(name);
      if (present === undefined || present.collapsed) continue;
      if (
        present.bytes + buffer.bytes > this.#bounds.maxTableBytes ||
        present.rows + buffer.rows > this.#bounds.maxTableRows
      )
        return false;
    }
    return true;
  }

  /** Takes the changes over; they must not be used any more. */
  add({ commit, committedAtUs, changes }: CommittedChanges): void {
    const index = this.#commits.push(commit) - 1;
    this.#committedAtUs = Math.max(this.#committedAtUs, committedAtUs);
    this.#rows += changes.rows;
    this.#collapses += changes.collapses;
    if (this.#tables.size === 0 && index === 0) {
      // Rows of a transaction are written under index 0: alone in a record they are right already.
      this.#tables = changes.tables;
    } else {
      for (const [name, buffer] of changes.tables) {
        let present = this.#tables.get(name);
        if (present === undefined) {
          present = new TableBuffer(buffer.table, buffer.columns);
          this.#tables.set(name, present);
        }
        present.append(buffer, index);
      }
    }
    for (const target of changes.purges) this.#purges.push({ ...target, commit: index });
    for (const text of changes.marks) this.#marks.push({ commit: index, text });
    this.#bytes += changes.bytes;
  }

  encode(): EncodedChanges {
    const tables = [...this.#tables.values()].map((buffer) => {
      const dot = buffer.table.indexOf('.');
      return { schema: buffer.table.slice(0, dot), table: buffer.table.slice(dot + 1), changes: buffer.encode() };
    });
    return {
      commits: this.#commits,
      committedAtUs: this.#committedAtUs,
      tables,
      purges: this.#purges,
      marks: this.#marks,
    };
  }
}
