import { Cell, Op, TableChangesBuilder, type CellValue, type Lsn, type Purge } from '@tidemark/proto';
import { readTuple, type PgMessage } from './pgoutput.ts';
import type { Projection } from './relations.ts';

/**
 * Bounds of what one transaction or record may hold (SPEC I13). Beyond them a table collapses into "every row", a purge
 * into "the whole namespace": coarser, never silent. A record stays below Kafka's default limit of 1 MiB.
 */
export interface ChangeBounds {
  readonly maxTableBytes: number;
  readonly maxTableRows: number;
  readonly maxPurgeBytes: number;
  readonly maxBytes: number;
  readonly maxCommits: number;
}

export const DEFAULT_BOUNDS: ChangeBounds = {
  maxTableBytes: 512 * 1024,
  maxTableRows: 50_000,
  maxPurgeBytes: 128 * 1024,
  maxBytes: 768 * 1024,
  maxCommits: 5000,
};

/** An explicit purge without its position. */
export type PurgeTarget = Omit<Purge, 'commit'>;

/** Bytes of a row's bookkeeping on the wire: operation and commit index. */
const ROW_BYTES = 4;
/** Bytes of a cell: state, and for a value its tag and length. */
const CELL_BYTES = 4;

type RowMessage = Extract<PgMessage, { kind: 'insert' | 'update' | 'delete' }>;

/** The changes of one table that are on their way into a record. */
export class TableBuffer {
  readonly table: string;
  readonly columns: readonly string[];
  /** Bytes of the block around the changes: names, columns, lengths. */
  readonly #frameBytes: number;
  #builder: TableChangesBuilder;
  #bytes: number;
  #collapsed = false;

  constructor(table: string, columns: readonly string[]) {
    this.table = table;
    this.columns = columns;
    this.#builder = new TableChangesBuilder(columns);
    // A UTF-16 unit takes at most three bytes in UTF-8.
    this.#frameBytes = columns.reduce((sum, column) => sum + 3 * column.length + 4, 3 * table.length + 32);
    this.#bytes = this.#frameBytes;
  }

  /** Upper bound of the encoded size; text counts in its UTF-8 bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  get rows(): number {
    return this.#builder.count;
  }

  /** Whether it holds "every row of the table" and takes in no single row any more. */
  get collapsed(): boolean {
    return this.#collapsed;
  }

  /** Adds a row as the stream sent it; O(columns of the relation). */
  addRow(projection: Projection, message: RowMessage, bytes: Buffer): void {
    if (this.#collapsed) return;
    const width = projection.columns.length;
    this.#bytes += ROW_BYTES + CELL_BYTES * width;
    if (message.kind === 'insert') {
      this.#builder.add({ op: Op.insert, commit: 0, after: this.#read(projection, bytes, message.newAt) });
    } else if (message.kind === 'delete') {
      this.#builder.add({ op: Op.delete, commit: 0, before: this.#readOld(projection, bytes, message) });
    } else {
      this.#bytes += CELL_BYTES * width;
      const before = this.#readOld(projection, bytes, message);
      this.#builder.add({ op: Op.update, commit: 0, before, after: this.#read(projection, bytes, message.newAt) });
    }
  }

  #readOld(projection: Projection, bytes: Buffer, message: { old: 'none' | 'key' | 'full'; oldAt: number }): readonly CellValue[] {
    if (message.old === 'none') return projection.unsentOld;
    const cells = this.#read(projection, bytes, message.oldAt);
    // pgoutput sends a key tuple at full width, with null for every column outside the identity.
    if (message.old === 'key') for (const place of projection.outsideIdentity) cells[place] = Cell.absent;
    return cells;
  }

  #read(projection: Projection, bytes: Buffer, at: number): CellValue[] {
    const cells: CellValue[] = new Array(projection.columns.length).fill(Cell.absent);
    this.#bytes += readTuple(bytes, at, projection.places, cells);
    return cells;
  }

  /** Gives up the single rows; `commit` is where the newest of them was committed. */
  collapse(commit: number): void {
    this.#builder.collapse(commit);
    this.#collapsed = true;
    this.#bytes = this.#frameBytes;
  }

  /** Takes in what another transaction did to the same table, under its commit. */
  append(other: TableBuffer, commit: number): void {
    if (this.#collapsed || other.#collapsed) {
      this.collapse(commit);
      return;
    }
    this.#builder.append(other.#builder, commit);
    this.#bytes += other.#bytes - other.#frameBytes;
  }

  encode(): Uint8Array {
    return this.#builder.encode();
  }
}

/** What one transaction did, in bounded memory however large the transaction is. */
export class TransactionChanges {
  readonly tables = new Map<string, TableBuffer>();
  readonly #bounds: ChangeBounds;
  #purges: PurgeTarget[] = [];
  #purgeBytes = 0;
  #tableBytes = 0;
  #rows = 0;
  #collapses = 0;

  constructor(bounds: ChangeBounds) {
    this.#bounds = bounds;
  }

  get bytes(): number {
    return this.#tableBytes + this.#purgeBytes;
  }

  /** Row changes of rule tables that were seen, kept or not. */
  get rows(): number {
    return this.#rows;
  }

  /** How often a bound made something coarser. */
  get collapses(): number {
    return this.#collapses;
  }

  get purges(): readonly PurgeTarget[] {
    return this.#purges;
  }

  addRow(projection: Projection, message: RowMessage, bytes: Buffer): void {
    this.#rows += 1;
    const buffer = this.#buffer(projection.table, projection.columns);
    if (buffer.collapsed) return;
    const before = buffer.bytes;
    buffer.addRow(projection, message, bytes);
    this.#tableBytes += buffer.bytes - before;
    if (buffer.bytes > this.#bounds.maxTableBytes || buffer.rows > this.#bounds.maxTableRows) this.#collapse(buffer);
    else if (this.#tableBytes > this.#bounds.maxBytes - this.#bounds.maxPurgeBytes) this.#collapse(largest(this.tables));
  }

  /** Every row of a table: TRUNCATE, or changes that nobody can name. */
  addWholeTable(table: string, columns: readonly string[]): void {
    const buffer = this.#buffer(table, columns);
    this.#tableBytes -= buffer.bytes;
    buffer.collapse(0);
    this.#tableBytes += buffer.bytes;
  }

  addPurges(targets: readonly PurgeTarget[]): void {
    for (const target of targets) {
      this.#purges.push(target);
      this.#purgeBytes += purgeBytes(target);
    }
    if (this.#purgeBytes <= this.#bounds.maxPurgeBytes) return;
    this.#collapses += 1;
    this.#purges = collapsePurges(this.#purges);
    this.#purgeBytes = this.#purges.reduce((sum, target) => sum + purgeBytes(target), 0);
    if (this.#purgeBytes <= this.#bounds.maxPurgeBytes / 2) return;
    this.#purges = [PURGE_EVERYTHING];
    this.#purgeBytes = purgeBytes(PURGE_EVERYTHING);
  }

  #collapse(buffer: TableBuffer): void {
    this.#collapses += 1;
    this.addWholeTable(buffer.table, buffer.columns);
  }

  #buffer(table: string, columns: readonly string[]): TableBuffer {
    let buffer = this.tables.get(table);
    if (buffer === undefined) {
      buffer = new TableBuffer(table, columns);
      this.tables.set(table, buffer);
      this.#tableBytes += buffer.bytes;
    }
    return buffer;
  }
}

/** What a message that cannot be understood may have meant. */
export const PURGE_EVERYTHING: PurgeTarget = { namespace: '', keys: [], tags: [], all: true };

/** What one transaction, or one message outside of any, adds to a record. */
export interface CommittedChanges {
  readonly commit: Lsn;
  readonly committedAtUs: number;
  readonly changes: TransactionChanges;
}

/** Encoded blocks and purges of a record. */
export interface EncodedChanges {
  readonly commits: readonly Lsn[];
  readonly committedAtUs: number;
  readonly tables: readonly { schema: string; table: string; changes: Uint8Array }[];
  readonly purges: readonly Purge[];
}

/** Collects committed transactions, in stream order, into what one record can hold. */
export class RecordChanges {
  readonly #bounds: ChangeBounds;
  readonly #commits: Lsn[] = [];
  readonly #purges: Purge[] = [];
  #tables = new Map<string, TableBuffer>();
  #bytes = 0;
  #rows = 0;
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

  /** Commit time of the oldest transaction that waits here would be longer ago; this is the newest's. */
  get committedAtUs(): number {
    return this.#committedAtUs;
  }

  /** Whether it still fits; the first one always does, because a transaction's own bounds are no larger. */
  fits(changes: TransactionChanges): boolean {
    if (this.empty) return true;
    if (this.#commits.length >= this.#bounds.maxCommits || this.#bytes + changes.bytes > this.#bounds.maxBytes) return false;
    for (const [name, buffer] of changes.tables) {
      const present = this.#tables.get(name);
      if (present === undefined || present.collapsed) continue;
      if (present.bytes + buffer.bytes > this.#bounds.maxTableBytes || present.rows + buffer.rows > this.#bounds.maxTableRows) return false;
    }
    return true;
  }

  /** Takes the changes over; they must not be used any more. */
  add({ commit, committedAtUs, changes }: CommittedChanges): void {
    const index = this.#commits.push(commit) - 1;
    this.#committedAtUs = Math.max(this.#committedAtUs, committedAtUs);
    this.#rows += changes.rows;
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
    this.#bytes += changes.bytes;
  }

  encode(): EncodedChanges {
    const tables = [...this.#tables.values()].map((buffer) => {
      const dot = buffer.table.indexOf('.');
      return { schema: buffer.table.slice(0, dot), table: buffer.table.slice(dot + 1), changes: buffer.encode() };
    });
    return { commits: this.#commits, committedAtUs: this.#committedAtUs, tables, purges: this.#purges };
  }
}

function largest(tables: ReadonlyMap<string, TableBuffer>): TableBuffer {
  let found: TableBuffer | undefined;
  for (const buffer of tables.values()) if (found === undefined || buffer.bytes > found.bytes) found = buffer;
  return found as TableBuffer;
}

function purgeBytes({ namespace, keys, tags }: PurgeTarget): number {
  let units = namespace.length;
  for (const name of keys) units += name.length + 1;
  for (const name of tags) units += name.length + 1;
  return 16 + 3 * units;
}

function collapsePurges(targets: readonly PurgeTarget[]): PurgeTarget[] {
  const namespaces = new Set(targets.map(({ namespace }) => namespace));
  if (namespaces.has('')) return [PURGE_EVERYTHING];
  return [...namespaces].map((namespace) => ({ namespace, keys: [], tags: [], all: true }));
}
