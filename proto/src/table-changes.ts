import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { TableChangesSchema } from './gen/tidemark/v1/batch_pb.js';
import type { Row } from './template.ts';

export const Op = { insert: 1, update: 2, delete: 3, wholeTable: 4 } as const;
export type Op = (typeof Op)[keyof typeof Op];

/** States of a cell on the wire; see batch.proto. */
export const Cell = { absent: 0, null: 1, unchanged: 2, value: 3, same: 4 } as const;

/** A cell as the publisher learned it: text, null, or one of the states that have no value. */
export type CellValue = string | null | typeof Cell.absent | typeof Cell.unchanged | typeof Cell.same;

/** Which rows an operation carries. */
const ROWS: Readonly<Record<Op, { readonly before: boolean; readonly after: boolean }>> = {
  [Op.insert]: { before: false, after: true },
  [Op.update]: { before: true, after: true },
  [Op.delete]: { before: true, after: false },
  [Op.wholeTable]: { before: false, after: false },
};

/** Collects the changes of one table in wire order. */
export class TableChangesBuilder {
  readonly columns: readonly string[];
  #ops: number[] = [];
  #commit: number[] = [];
  #cells: number[] = [];
  #values: string[] = [];

  constructor(columns: readonly string[]) {
    this.columns = columns;
  }

  /** Changes so far. */
  get count(): number {
    return this.#ops.length;
  }

  /**
   * Rows hold one cell a column, in the order of `columns`; an update has both, an insert only `after`, a delete only
   * `before`. Throws a RangeError for any other shape: cells that slip would be read as those of another row.
   */
  add(change: { op: Op; commit: number; before?: readonly CellValue[]; after?: readonly CellValue[] }): void {
    const { op, commit, before, after } = change;
    if (before?.length !== (ROWS[op].before ? this.columns.length : undefined))
      throw this.#misshapen(op, 'old', before);
    if (after?.length !== (ROWS[op].after ? this.columns.length : undefined)) throw this.#misshapen(op, 'new', after);
    this.#ops.push(op);
    this.#commit.push(commit);
    if (before !== undefined) this.#addRow(before);
    if (after !== undefined) this.#addRow(after);
  }

  /** Gives up the single rows for "every row of the table" at the given commit: bounded memory for storms (SPEC I13). */
  collapse(commit: number): void {
    this.#ops = [Op.wholeTable];
    this.#commit = [commit];
    this.#cells = [];
    this.#values = [];
  }

  /** Appends all changes of another builder under one commit. Throws a RangeError if it has other columns. */
  append(other: TableChangesBuilder, commit: number): void {
    const same =
      this.columns.length === other.columns.length && this.columns.every((column, i) => column === other.columns[i]);
    if (!same)
      throw new RangeError(
        `cannot append changes of (${other.columns.join(', ')}) to those of (${this.columns.join(', ')})`,
      );
    for (const op of other.#ops) this.#ops.push(op);
    for (let i = 0; i < other.#ops.length; i++) this.#commit.push(commit);
    for (const cell of other.#cells) this.#cells.push(cell);
    for (const value of other.#values) this.#values.push(value);
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
    for (const cell of row) {
      if (typeof cell === 'string') {
        this.#cells.push(Cell.value);
        this.#values.push(cell);
      } else {
        this.#cells.push(cell === null ? Cell.null : cell);
      }
    }
  }

  #misshapen(op: Op, which: string, row: readonly CellValue[] | undefined): RangeError {
    return new RangeError(
      `operation ${op} over ${this.columns.length} columns does not take ${row?.length ?? 'no'} ${which} cells`,
    );
  }
}

/** Called once a change; `before` is undefined for inserts, `after` for deletes, both for `wholeTable`. Rows are reused. */
export type ChangeVisitor = (op: Op, commit: number, before: Row | undefined, after: Row | undefined) => void;

/** A decoded block, ready to be walked. */
export interface TableChangesReader {
  readonly columns: readonly string[];
  forEach(visit: ChangeVisitor): void;
}

/**
 * Decodes a block. Throws an Error when it is no protobuf and a RangeError when it contradicts itself; the latter may come
 * out of `forEach` after some changes were visited, so a caller must treat the whole block as unread.
 */
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
      if (cell !== cells.length || value !== values.length)
        throw new RangeError('more cells or values than the changes need');
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
