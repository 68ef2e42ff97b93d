import { formatLsn } from '@tidemark/proto';
import type { NamespaceDifference, NameDifference } from '../core/replay/compare.ts';
import type { ReplayState } from '../core/replay/engine.ts';
import type { Distinct, NamespaceSum } from '../core/replay/tally.ts';

/** What a replay counted. */
export interface Report {
  readonly state: ReplayState;
  readonly seconds: number;
  readonly namespaces: readonly NamespaceSum[];
  readonly differences: readonly NamespaceDifference[] | undefined;
}

/** For programs. */
export function reportJson({ state, seconds, namespaces, differences }: Report): string {
  const { position, counts } = state;
  const at = position && { epoch: position.epoch, lsn: formatLsn(position.applied) };
  return `${JSON.stringify({ ...counts, seconds: Number(seconds.toFixed(3)), end: at ?? null, namespaces, differences }, undefined, 2)}\n`;
}

/** For people. */
export function reportTable({ state, seconds, namespaces, differences }: Report): string {
  const { counts, position } = state;
  const rows = namespaces.map((sum) => [
    sum.namespace,
    sum.rulesHash,
    number(sum.keys),
    distinct(sum.distinctKeys),
    number(sum.tags),
    distinct(sum.distinctTags),
    number(sum.falls),
  ]);
  const head = ['namespace', 'rules', 'keys', 'different', 'tags', 'different', 'whole namespace'];
  const lines = [
    ...columns([head, ...rows]),
    '',
    ...namespaces.flatMap(notesOf),
    `${number(counts.records)} records with ${number(counts.changes)} changes of rows that rules name, in ${seconds.toFixed(1)} s` +
      (position === undefined ? '' : `, up to ${position.epoch}:${formatLsn(position.applied)}`),
    ...anomalies(state),
  ];
  if (differences !== undefined) lines.push('', ...differenceLines(differences));
  return `${lines.join('\n')}\n`;
}

const WHY = {
  'whole-table': 'every row of a table changed (TRUNCATE, or too many to list)',
  'missing-column': 'the records do not have a column',
  'missing-value': 'the old or new value of a column was not sent',
  unreadable: 'a record cannot be read',
  'too-new': 'a record was written for newer readers',
  gap: 'records are missing in the stream',
  'new-epoch': 'the stream began anew',
  purge: 'somebody purged it',
} as const;

/** What about a namespace a person should know. */
function notesOf(sum: NamespaceSum): string[] {
  const notes = sum.why.map(
    ({ cause, columns: missing, times }) =>
      `all of it ${number(times)} times: ${WHY[cause]}${missing.length === 0 ? '' : ` (${missing.join(', ')})`}`,
  );
  if (sum.prefixes > 0) notes.push(`${number(sum.prefixes)} times what begins with something: somebody purged it`);
  for (const { table, changes, missing, partlyMissing } of sum.rules) {
    if (changes === 0) notes.push(`no change of ${table}: there was none, or no rule named the table then`);
    if (missing.length > 0) notes.push(`${table}: no record has ${missing.join(', ')}, because no rule named it then`);
    if (partlyMissing.length > 0) notes.push(`${table}: only some records have ${partlyMissing.join(', ')}`);
  }
  if (sum.served === 'some') notes.push('these rules were in force for a part of the records only');
  return notes.length === 0 ? [] : [`${sum.namespace}:`, ...notes.map((note) => `  ${note}`), ''];
}

function anomalies({ counts }: ReplayState): string[] {
  return [
    counts.repeated > 0 && `${number(counts.repeated)} records repeated what was there`,
    counts.unreadable > 0 && `${number(counts.unreadable)} records could not be read`,
    counts.gaps > 0 && `${number(counts.gaps)} gaps in the stream`,
    counts.epochs > 0 && `${number(counts.epochs)} new epochs`,
  ].filter((line) => line !== false);
}

function differenceLines(differences: readonly NamespaceDifference[]): string[] {
  if (differences.length === 0) return ['Both sets of rules invalidate the same.'];
  const lines = ['Different from the rules compared with:'];
  for (const { namespace, before, after, onlyBefore, onlyAfter } of differences) {
    if (before === undefined) lines.push(`  ${namespace}: it is new`);
    else if (after === undefined) lines.push(`  ${namespace}: it is gone`);
    else {
      lines.push(
        `  ${namespace}: whole namespace ${change(before.falls, after.falls)}, keys ${change(before.keys, after.keys)}, tags ${change(before.tags, after.tags)}`,
        ...names('only before', onlyBefore),
        ...names('only now', onlyAfter),
      );
    }
  }
  return lines;
}

function names(
  which: string,
  sides: { readonly keys: NameDifference | undefined; readonly tags: NameDifference | undefined },
): string[] {
  return (['keys', 'tags'] as const).flatMap((kind) => {
    const side = sides[kind];
    if (side === undefined) return [`    ${kind} ${which}: too many to compare name by name`];
    if (side.count === 0) return [];
    const more = side.count > side.examples.length ? ', …' : '';
    return [
      `    ${kind} ${which}: ${number(side.count)} (${side.examples.map((name) => JSON.stringify(name)).join(', ')}${more})`,
    ];
  });
}

function change(before: number, after: number): string {
  return before === after ? number(after) : `${number(before)} → ${number(after)}`;
}

function distinct({ count, isCapped }: Distinct): string {
  return isCapped ? `>= ${number(count)}` : number(count);
}

function number(value: number): string {
  return value.toLocaleString('en');
}

/** Text left, numbers right; the first two columns are text. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
