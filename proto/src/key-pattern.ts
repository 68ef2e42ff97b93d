import { parseTemplate, TemplateError, type Template } from './template.ts';

/** A template that is read backwards: from a key to the values that it was made of. */
export interface KeyPattern {
  readonly text: string;
  readonly names: readonly string[];
  /** The values by name, `key` (the whole of it) included; undefined for a key of another shape. O(length of the key). */
  match(key: string): ReadonlyMap<string, string> | undefined;
}

/** The name of the whole key wherever a part of it could be named. */
export const WHOLE_KEY = 'key';

/** Every key. */
export const ANY_KEY: KeyPattern = { text: '{key}', names: [], match: (key) => new Map([[WHOLE_KEY, key]]) };

/**
 * Parses `by-email:{email}`. A key matches if all that stands outside of braces is there; each value is at least one character and goes
 * to the first place at which what follows it is found, the last one to the end (or to the text that ends the pattern). Throws
 * {@link TemplateError} where it would be open which value a character belongs to, or a name is given twice.
 */
export function parseKeyPattern(text: string): KeyPattern {
  const template = parseTemplate(text);
  const { columns: names, literals } = template;
  const inner = literals.slice(1, -1);
  const open = inner.indexOf('');
  if (open >= 0) {
    throw new TemplateError(
      `nothing stands between {${names[open]}} and {${names[open + 1]}}, so a key would not tell where one ends`,
    );
  }
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new TemplateError(`{${twice}} stands there twice`);
  if (names.includes(WHOLE_KEY) && text !== ANY_KEY.text)
    throw new TemplateError('{key} is the whole key: a part of it needs another name');
  return text === ANY_KEY.text ? ANY_KEY : { text, names, match: (key) => match(template, key) };
}

function match({ literals, columns }: Template, key: string): ReadonlyMap<string, string> | undefined {
  const first = literals[0] as string;
  if (columns.length === 0) return key === first ? new Map([[WHOLE_KEY, key]]) : undefined;
  const last = literals.at(-1) as string;
  const end = key.length - last.length;
  if (!key.startsWith(first) || !key.endsWith(last)) return undefined;
  const values = new Map([[WHOLE_KEY, key]]);
  let from = first.length;
  for (const [i, name] of columns.entries()) {
    const isLast = i === columns.length - 1;
    const to = isLast ? end : key.indexOf(literals[i + 1] as string, from + 1);
    if (to <= from || to > end) return undefined;
    values.set(name, key.slice(from, to));
    from = to + (isLast ? 0 : (literals[i + 1] as string).length);
  }
  return values;
}
