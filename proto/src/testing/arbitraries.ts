import fc from 'fast-check';
import { Cell, type CellValue, Op } from '../table-changes.ts';

const codePoint = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0x20, max: 0x7e }) },
  { weight: 1, arbitrary: fc.constantFrom(0xfeff, 0, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0x10ffff }).filter((code) => code < 0xd800 || code > 0xdfff) },
);

/** Any well-formed text: mostly ASCII, with what encoders trip over (byte-order marks, NUL, astral characters). */
export const text = fc.array(codePoint, { maxLength: 12 }).map((codes) => String.fromCodePoint(...codes));

/** A short name of few letters, so that equal ones are common. */
export const fewNames = fc.constantFrom('a', 'b', 'c', 'd');

/** A commit position. */
export const lsn = fc.maxSafeNat();

/** A row as the database knows it: text or NULL. */
export type FullRow = readonly (string | null)[];

/** What really happened to one row. */
export interface TrueChange {
  readonly op: Op;
  readonly commit: number;
  readonly before: FullRow | undefined;
  readonly after: FullRow | undefined;
}

/** A change of a table of `width` columns, and how a publisher that did not learn everything may have written it down. */
export function changeOf(options: {
  width: number;
  commits: number;
  value: fc.Arbitrary<string | null>;
}): fc.Arbitrary<{
  truth: TrueChange;
  written: { op: Op; commit: number; before?: CellValue[]; after?: CellValue[] };
}> {
  const { width, commits, value } = options;
  const row = fc.array(value, { minLength: width, maxLength: width });
  const kept = fc.array(fc.boolean(), { minLength: width, maxLength: width });
  const choice = fc.array(fc.nat(5), { minLength: 2 * width, maxLength: 2 * width });
  return fc
    .record({
      op: fc.constantFrom(...Object.values(Op)),
      commit: fc.nat(commits - 1),
      one: row,
      two: row,
      kept,
      choice,
    })
    .map(({ op, commit, one, two, kept: unchanged, choice: how }) => {
      const before = op === Op.update || op === Op.delete ? one : undefined;
      const updated = one.map((cell, i) => (unchanged[i] === true ? cell : (two[i] ?? null)));
      const after = op === Op.update ? updated : op === Op.insert ? two : undefined;
      const written: { op: Op; commit: number; before?: CellValue[]; after?: CellValue[] } = { op, commit };
      if (before !== undefined) written.before = before.map((cell, i) => writeOld(cell, after?.[i], how[i] ?? 0));
      if (after !== undefined) written.after = after.map((cell, i) => writeNew(cell, before?.[i], how[width + i] ?? 0));
      return { truth: { op, commit, before, after }, written };
    });
}

/** Mostly the value; else that it equals the new one, where it does, or that nobody knows. */
function writeOld(cell: string | null, after: string | null | undefined, how: number): CellValue {
  if (how === 0) return Cell.absent;
  return how === 1 && after === cell ? Cell.same : cell;
}

/** Mostly the value; else that it was not sent because it did not change, where that is so, or that nobody knows. */
function writeNew(cell: string | null, before: string | null | undefined, how: number): CellValue {
  if (how === 0) return Cell.absent;
  return how === 1 && before === cell && cell !== null ? Cell.unchanged : cell;
}
