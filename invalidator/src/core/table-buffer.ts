import { Cell, Op, TableChangesBuilder, type CellValue } from '@tidemark/proto';
import { readTuple, type PgMessage } from './pgoutput.ts';
import type { Projection } from './relations.ts';

/** Bytes of a row's bookkeeping on the wire: operation and commit index. */
const ROW_BYTES = 4;
/** Bytes of a cell: state, and for a value its tag and length. */
const CELL_BYTES = 4;

export type RowMessage = Extract<PgMessage, { kind: 'insert' | 'update' | 'delete' }>;

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

  #readOld(
    projection: Projection,
    bytes: Buffer,
    message: { old: 'none' | 'key' | 'full'; oldAt: number },
  ): readonly CellValue[] {
    if (message.old === 'none') return projection.unsentOld;
    const cells = this.#read(projection, bytes, message.oldAt);
    // pgoutput sends a key tuple at full width, with null for every column outside the identity.
    if (message.old === 'key') for (const place of projection.outsideIdentity) cells[place] = Cell.absent;
    return cells;
  }

  #read(projection: Projection, bytes: Buffer, at: number): CellValue[] {
    const cells: CellValue[] = Array.from({ length: projection.columns.length }, () => Cell.absent);
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
