import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TableChangesSchema } from './gen/tidemark/v1/batch_pb.js';
import { Cell, type CellValue, Op, readTableChanges, TableChangesBuilder } from './table-changes.ts';
import type { Row } from './template.ts';
import { changeOf, text } from './testing/arbitraries.ts';

interface Visit {
  op: Op;
  commit: number;
  before: Row | undefined;
  after: Row | undefined;
}

/** Rows are reused, so each visit is copied. */
function visitsOf(bytes: Uint8Array): Visit[] {
  const visits: Visit[] = [];
  readTableChanges(bytes).forEach((op, commit, before, after) => {
    visits.push({ op, commit, before: before && [...before], after: after && [...after] });
  });
  return visits;
}

type Written = { op: Op; commit: number; before?: CellValue[]; after?: CellValue[] };

/** What a reader must make of a written change, one cell at a time. */
function resolved({ op, commit, before, after }: Written): Visit {
  const known = (cell: CellValue | undefined): string | null | undefined =>
    typeof cell === 'number' ? undefined : cell;
  return {
    op,
    commit,
    before: before?.map((cell, i) => known(cell === Cell.same ? after?.[i] : cell)),
    after: after?.map((cell, i) => known(cell === Cell.unchanged ? before?.[i] : cell)),
  };
}

const block = fc.nat(4).chain((width) =>
  fc.record({
    columns: fc.array(text, { minLength: width, maxLength: width }),
    changes: fc.array(changeOf({ width, commits: 300, value: fc.option(text, { nil: null }) }), { maxLength: 20 }),
  }),
);

describe('TableChangesBuilder and readTableChanges', () => {
  it('are inverse, and every value that was read is the true one', () => {
    fc.assert(
      fc.property(block, ({ columns, changes }) => {
        const builder = new TableChangesBuilder(columns);
        for (const { written } of changes) builder.add(written);
        expect(builder.count).toBe(changes.length);
        const bytes = builder.encode();
        expect(readTableChanges(bytes).columns).toEqual(columns);
        const visits = visitsOf(bytes);
        expect(visits).toEqual(changes.map(({ written }) => resolved(written)));
        visits.forEach((visit, i) => {
          const truth = changes[i]?.truth;
          visit.before?.forEach((cell, at) => expect([undefined, truth?.before?.[at]]).toContain(cell));
          visit.after?.forEach((cell, at) => expect([undefined, truth?.after?.[at]]).toContain(cell));
        });
      }),
      { numRuns: 300 },
    );
  });

  it('append puts all changes of another transaction under its commit', () => {
    fc.assert(
      fc.property(block, fc.nat(300), fc.nat(20), ({ columns, changes }, commit, split) => {
        const whole = new TableChangesBuilder(columns);
        const other = new TableChangesBuilder(columns);
        changes.forEach(({ written }, i) => (i < split ? whole : other).add(written));
        whole.append(other, commit);
        const expected = changes.map(({ written }, i) => resolved(i < split ? written : { ...written, commit }));
        expect(visitsOf(whole.encode())).toEqual(expected);
      }),
    );
  });

  it('[I13] collapse stands for every row of the table, and later changes follow it', () => {
    const builder = new TableChangesBuilder(['id']);
    for (let i = 0; i < 1000; i++) builder.add({ op: Op.insert, commit: 0, after: [`${i}`] });
    builder.collapse(7);
    expect(builder.count).toBe(1);
    builder.add({ op: Op.delete, commit: 8, before: ['1'] });
    expect(visitsOf(builder.encode())).toEqual([
      { op: Op.wholeTable, commit: 7, before: undefined, after: undefined },
      { op: Op.delete, commit: 8, before: ['1'], after: undefined },
    ]);
  });

  it('a block can be walked again, and a table may have no columns', () => {
    const builder = new TableChangesBuilder([]);
    builder.add({ op: Op.update, commit: 1, before: [], after: [] });
    const reader = readTableChanges(builder.encode());
    for (let times = 0; times < 2; times++) {
      const ops: Op[] = [];
      reader.forEach((op) => ops.push(op));
      expect(ops).toEqual([Op.update]);
    }
  });

  it('a marker in a place where it means nothing is a value that nobody knows', () => {
    const builder = new TableChangesBuilder(['a', 'b']);
    builder.add({ op: Op.insert, commit: 0, after: [Cell.same, Cell.unchanged] });
    builder.add({ op: Op.delete, commit: 0, before: [Cell.same, Cell.unchanged] });
    builder.add({ op: Op.update, commit: 0, before: [Cell.same, Cell.same], after: [Cell.unchanged, Cell.same] });
    for (const { before, after } of visitsOf(builder.encode())) {
      expect([...(before ?? []), ...(after ?? [])].filter((cell) => cell !== undefined)).toEqual([]);
    }
  });
});

describe('a builder refuses what a reader would misread', () => {
  const builder = new TableChangesBuilder(['a', 'b']);
  const row = ['1', '2'];
  it.each<[string, Written]>([
    ['an insert without its row', { op: Op.insert, commit: 0 }],
    ['an insert with an old row', { op: Op.insert, commit: 0, before: row, after: row }],
    ['an update without an old row', { op: Op.update, commit: 0, after: row }],
    ['an update without a new row', { op: Op.update, commit: 0, before: row }],
    ['a delete with a new row', { op: Op.delete, commit: 0, before: row, after: row }],
    ['a whole table with rows', { op: Op.wholeTable, commit: 0, after: row }],
    ['a row that is too short', { op: Op.insert, commit: 0, after: ['1'] }],
    ['a row that is too long', { op: Op.delete, commit: 0, before: ['1', '2', '3'] }],
  ])('%s', (_, change) => {
    expect(() => builder.add(change)).toThrow(/operation \d over 2 columns does not take/);
    expect(builder.count).toBe(0);
  });

  it('changes of other columns', () => {
    expect(() => builder.append(new TableChangesBuilder(['a']), 0)).toThrow(
      'cannot append changes of (a) to those of (a, b)',
    );
    expect(() => builder.append(new TableChangesBuilder(['b', 'a']), 0)).toThrow(RangeError);
  });
});

describe('a malformed block is refused as a whole', () => {
  it('whatever its parts say: all of it is read, or it throws', () => {
    const small = fc.nat(5);
    const parts = fc.record({
      columns: fc.array(text, { maxLength: 2 }),
      ops: fc.array(small, { maxLength: 4 }),
      commit: fc.array(small, { maxLength: 4 }),
      cells: fc.array(small, { maxLength: 6 }),
      values: fc.array(text, { maxLength: 4 }),
    });
    let readable = 0;
    fc.assert(
      fc.property(parts, ({ columns, ops, commit, cells, values }) => {
        const init = { columns, ops: Uint8Array.from(ops), commit, cells: Uint8Array.from(cells), values };
        const bytes = toBinary(TableChangesSchema, create(TableChangesSchema, init));
        let visits: Visit[];
        try {
          visits = visitsOf(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
          return;
        }
        readable += 1;
        const rows = visits.flatMap(({ before, after }) => [before, after].filter((row) => row !== undefined));
        expect(visits.map(({ op }) => op)).toEqual(ops);
        expect(visits.map((visit) => visit.commit)).toEqual(commit);
        expect(rows.length * columns.length).toBe(cells.length);
        expect(cells.filter((cell) => cell === Cell.value)).toHaveLength(values.length);
      }),
      { numRuns: 3000 },
    );
    expect(readable).toBeGreaterThan(0);
  });

  it.each([
    ['a change without a commit index', { ops: [Op.wholeTable], commit: [] }, /1 changes but 0 commit indexes/],
    ['an operation of a later version', { ops: [9], commit: [0] }, /unknown operation 9/],
    ['too few cells', { ops: [Op.insert], commit: [0] }, /fewer cells/],
    ['too few values', { ops: [Op.insert], commit: [0], cells: [Cell.value] }, /fewer values/],
    ['more cells', { ops: [Op.insert], commit: [0], cells: [Cell.null, Cell.null] }, /more cells/],
    ['more values', { ops: [Op.insert], commit: [0], cells: [Cell.null], values: ['x'] }, /more cells or values/],
  ])(
    '%s',
    (
      _,
      {
        ops,
        commit,
        cells = [],
        values = [],
      }: { ops: number[]; commit: number[]; cells?: number[]; values?: string[] },
      message,
    ) => {
      const init = { columns: ['a'], ops: Uint8Array.from(ops), commit, cells: Uint8Array.from(cells), values };
      expect(() => visitsOf(toBinary(TableChangesSchema, create(TableChangesSchema, init)))).toThrow(message);
    },
  );

  it('bytes that are no protobuf, or whose text is no UTF-8', () => {
    const builder = new TableChangesBuilder(['a']);
    builder.add({ op: Op.insert, commit: 0, after: ['xyz'] });
    const bytes = builder.encode();
    expect(() => readTableChanges(bytes.subarray(0, bytes.length - 1))).toThrow(/premature EOF|invalid/);
    expect(() => readTableChanges(Uint8Array.of(...bytes.subarray(0, bytes.length - 1), 0xff))).toThrow(/utf-8/);
  });
});
