/** A key or tag template: literals and columns that alternate, beginning with a literal. */
export interface Template {
  readonly text: string;
  readonly literals: readonly string[];
  readonly columns: readonly string[];
}

/** The grammar of {@link parseTemplate} as one expression, for the JSON Schema of the configuration. */
export const TEMPLATE = /^(?:[^{}]|\{\{|\}\}|\{[^{}]+\})+$/;

/** Says what is wrong with a template and where. */
export class TemplateError extends Error {
  override name = 'TemplateError';
}

/**
 * Parses `by-email:{email}`. A brace that is meant literally is written twice (`{{`, `}}`). A column is named as the
 * catalog spells it; it may hold anything but braces. Throws {@link TemplateError}.
 */
export function parseTemplate(text: string): Template {
  const literals: string[] = [];
  const columns: string[] = [];
  let literal = '';
  for (let i = 0; i < text.length;) {
    const char = text[i] as string;
    if ((char === '{' || char === '}') && text[i + 1] === char) {
      literal += char;
      i += 2;
    } else if (char === '}') {
      throw new TemplateError(`"}" at ${i} closes nothing (a literal brace is written "}}")`);
    } else if (char === '{') {
      const end = text.indexOf('}', i);
      const column = end < 0 ? '' : text.slice(i + 1, end);
      if (column === '' || column.includes('{')) {
        throw new TemplateError(
          `"{" at ${i} begins no column name (expected {column}; a literal brace is written "{{")`,
        );
      }
      literals.push(literal);
      columns.push(column);
      literal = '';
      i = end + 1;
    } else {
      literal += char;
      i += 1;
    }
  }
  literals.push(literal);
  return { text, literals, columns };
}

/** A row as far as it is known: text, null for NULL, undefined for a value that the publisher could not know. */
export type Row = readonly (string | null | undefined)[];

/** A template whose columns were resolved to their places in a row. */
export interface BoundTemplate {
  readonly literals: readonly string[];
  readonly places: readonly number[];
}

/** Resolves columns; a column that the row does not have gets place -1 and so renders as unknown. */
export function bindTemplate(template: Template, columns: readonly string[]): BoundTemplate {
  return { literals: template.literals, places: template.columns.map((column) => columns.indexOf(column)) };
}

/** The name for a row; NULL renders as the empty text. Undefined when some column is unknown: invalidate coarser. */
export function renderTemplate(template: BoundTemplate, row: Row): string | undefined {
  let text = template.literals[0] as string;
  for (let i = 0; i < template.places.length; i++) {
    const value = row[template.places[i] as number];
    if (value === undefined) return undefined;
    text += (value ?? '') + (template.literals[i + 1] as string);
  }
  return text;
}
