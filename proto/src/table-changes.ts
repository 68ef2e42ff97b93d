import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { TableChangesSchema } from './gen/tidemark/v1/batch_pb.js';
import type { Row } from './template.ts';

export const Op = { insert: 1, update: 2, delete: 3, wholeTable: 4 } as const;
export type Op = (typeof Op)[keyof typeof Op];

/** States of a cell on the wire; see batch.proto. */
export const Cell = { absent: 0, null: 1, unchanged: 2, value: 3, same: 4 } as const;

/** A cell as the publisher learned it: text, null, or one of the states that have no value. */
export type CellValue = string | null | typeof Cell.absent | typeof Cell.unchanged | typeof Cell.same;

/** Collects the changes of one table in wire order. Not safe to use after {@link TableChangesBuilder.encode}. */
export class TableChangesBuilder {
  readonly columns: readonly string[];
  #ops: number[] = [];
  #commit: number[] = [];
  #cells: number[] = [];
  #values: string[] = [];
  #bytes = 0;

  constructor(columns: readonly string[]) {
    this.columns = columns;
  }

  /** About how many bytes the encoded block will have; exact for ASCII. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#ops.length;
  }

  /** Rows hold one cell a column, in the order of `columns`; an update has both, an insert only `after`. */
  add(change: { op: Op; commit: number; before?: readonly CellValue[]; after?: readonly CellValue[] }): void {
    this.#ops.push(change.op);
    this.#commit.push(change.commit);
    this.#bytes += 4;
    if (change.before !== undefined) this.#addRow(change.before);
    if (change.after !== undefined) this.#addRow(change.after);
  }

  /** Gives up the single rows for "every row of the table" at the given commit: bounded memory for storms (SPEC I13). */
  collapse(commit: number): void {
    this.#ops = [Op.wholeTable];
    this.#commit = [commit];
    this.#cells = [];
    this.#values = [];
    this.#bytes = 4;
  }

  /** Appends all changes of another builder with the same columns under one commit. */
  append(other: TableChangesBuilder, commit: number): void {
    for (const op of other.#ops) this.#ops.push(op);
    for (let i = 0; i < other.#ops.length; i++) this.#commit.push(commit);
    for (const cell of other.#cells) this.#cells.push(cell);
    for (const value of other.#values) this.#values.push(value);
    this.#bytes += other.#bytes;
  }

  encode(): Uint8Array {
    return toBinary(
      TableChangesSchema,
      create(TableChangesSchema, {
        columns: [...this.columns],
        ops: Uint8Array.from(this.#ops),
        commit: this.#commit,
        cells: Uint8Array.from(this.#cells),
        values: this.#values,
      }),
    );
  }

  #addRow(row: readonly CellValue[]): void {
    this.#bytes += row.length;
    for (const cell of row) {
      if (typeof cell === 'string') {
        this.#cells.push(Cell.value);
        this.#values.push(cell);
        this.#bytes += cell.length + 2;
      } else {
        this.#cells.push(cell === null ? Cell.null : cell);
      }
    }
  }
}

/** Called once a change; `before` is undefined for inserts, `after` for deletes, both for `wholeTable`. Rows are reused. */
export type ChangeVisitor = (op: Op, commit: number, before: Row | undefined, after: Row | undefined) => void;

/** A decoded block, ready to be walked. */
export interface TableChangesReader {
  readonly columns: readonly string[];
  forEach(visit: ChangeVisitor): void;
}

/** Decodes a block. Throws a RangeError when it contradicts itself, an Error when it is no protobuf. */
export function readTableChanges(bytes: Uint8Array): TableChangesReader {
  const message = fromBinary(TableChangesSchema, bytes);
  const { columns, ops, commit, cells, values } = message;
  if (commit.length !== ops.length) throw new RangeError(`${ops.length} changes but ${commit.length} commit indexes`);
  return {
    columns,
    forEach(visit) {
      const width = columns.length;
      const before: (string | null | undefined)[] = Array.from({ length: width });
      const after: (string | null | undefined)[] = Array.from({ length: width });
      let cell = 0;
      let value = 0;
      const readRow = (row: (string | null | undefined)[]): void => {
        if (cell + width > cells.length) throw new RangeError('fewer cells than the changes need');
        for (let i = 0; i < width; i++) {
          const state = cells[cell++] as number;
          if (state === Cell.value) {
            if (value >= values.length) throw new RangeError('fewer values than the cells need');
            row[i] = values[value++] as string;
          } else {
            row[i] = state === Cell.null ? null : undefined;
          }
        }
      };
      for (let i = 0; i < ops.length; i++) {
        const op = ops[i] as Op;
        const index = commit[i] as number;
        if (op === Op.insert) {
          readRow(after);
          visit(op, index, undefined, after);
        } else if (op === Op.delete) {
          readRow(before);
          visit(op, index, before, undefined);
        } else if (op === Op.update) {
          const oldCells = cell;
          readRow(before);
          readRow(after);
          resolveUpdate(before, after, cells, oldCells);
          visit(op, index, before, after);
        } else if (op === Op.wholeTable) {
          visit(op, index, undefined, undefined);
        } else {
          throw new RangeError(`unknown operation ${String(op)}`);
        }
      }
    },
  };
}

/** An old cell marked "same" takes the new value; a new TOAST value that was not sent takes the old one, if known. */
function resolveUpdate(
  before: (string | null | undefined)[],
  after: (string | null | undefined)[],
  cells: Uint8Array,
  oldCells: number,
): void {
  const width = before.length;
  for (let i = 0; i < width; i++) {
    if (cells[oldCells + i] === Cell.same) before[i] = after[i];
    else if (cells[oldCells + width + i] === Cell.unchanged) after[i] = before[i];
  }
}
