import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { root } from './tools.ts';

/** One value of the chart that a person may set: a key in values.yaml with a comment that begins with two dashes. */
export interface ChartValue {
  /** The keys that lead to it. */
  readonly path: readonly string[];
  readonly description: string;
  readonly default: unknown;
}

const DESCRIPTION = /^\s*# -- (.*)$/;
const KEY = /^(\s*)([A-Za-z][A-Za-z0-9]*):(?:\s|$)/;

/**
 * The values in the order of the file. What is below a described key belongs to it. Throws where a key is neither described nor
 * leads to described ones: it would be missing in the schema and in the table.
 */
export async function readChartValues(): Promise<readonly ChartValue[]> {
  return chartValues(await readFile(join(root, 'charts/tidemark/values.yaml'), 'utf8'));
}

/** The same for a text of values. */
export function chartValues(text: string): readonly ChartValue[] {
  const defaults: unknown = parse(text);
  const values: ChartValue[] = [];
  /** The keys that the line at hand is below, with their indentation. */
  let above: { readonly key: string; readonly indent: number; readonly isDescribed: boolean }[] = [];
  let description: string | undefined;
  for (const line of text.split('\n')) {
    const [, told] = DESCRIPTION.exec(line) ?? [];
    if (told !== undefined) description = told;
    const [, spaces, key] = KEY.exec(line) ?? [];
    if (spaces === undefined || key === undefined) continue;
    above = above.filter(({ indent }) => indent < spaces.length);
    const isInside = above.some(({ isDescribed }) => isDescribed);
    const path = [...above.map((each) => each.key), key];
    const found = at(defaults, path);
    if (!isInside && description !== undefined) values.push({ path, description, default: found });
    else if (!isInside && !isSection(found))
      throw new Error(`values.yaml: ${path.join('.')} has no description, expected a line "# -- ..." above it`);
    above.push({ key, indent: spaces.length, isDescribed: isInside || description !== undefined });
    description = undefined;
  }
  return values;
}

function isSection(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((node, key) => (node as Record<string, unknown>)[key], value);
}

/** Where the table stands in README.md. */
const TABLE = /(<!-- values: npm run codegen -->\n)[\s\S]*?(<!-- end -->)/;

/** The README with the table of values as it has to be. Throws where the marks of the table are missing. */
export function withValuesTable(readme: string, values: readonly ChartValue[]): string {
  if (!TABLE.test(readme)) throw new Error('charts/tidemark/README.md: found no marks of the table of values');
  const rows = values.map(
    (value) => `| \`${value.path.join('.')}\` | ${code(value.default)} | ${cell(value.description)} |`,
  );
  const table = ['| value | default | what it says |', '| --- | --- | --- |', ...rows].join('\n');
  return readme.replace(TABLE, (_, begin: string, end: string) => `${begin}${table}\n${end}`);
}

function code(value: unknown): string {
  return value === '' || value === null ? '' : `\`${cell(typeof value === 'string' ? value : JSON.stringify(value))}\``;
}

function cell(text: string): string {
  return text.replaceAll('|', String.raw`\|`);
}
