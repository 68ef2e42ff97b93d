import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bindTemplate, parseTemplate, renderTemplate, TEMPLATE, TemplateError } from './template.ts';
import { text } from './testing/arbitraries.ts';

const column = text.map((name) => name.replaceAll(/[{}]/g, '')).filter((name) => name !== '');
const value = fc.option(text, { nil: null });
/** Literals and columns that alternate, braces in the literals included. */
const parts = fc
  .array(
    fc.tuple(
      text.map((t) => `{${t}}`),
      column,
    ),
    { maxLength: 4 },
  )
  .chain((pairs) => fc.record({ pairs: fc.constant(pairs), end: fc.oneof(text, fc.constantFrom('{', '}', '}{', '')) }));
const escape = (literal: string): string => literal.replaceAll('{', '{{').replaceAll('}', '}}');

describe('parseTemplate', () => {
  it('reads literals and columns', () => {
    expect(parseTemplate('user:{id}:{name}')).toEqual({
      text: 'user:{id}:{name}',
      literals: ['user:', ':', ''],
      columns: ['id', 'name'],
    });
    expect(parseTemplate('all')).toEqual({ text: 'all', literals: ['all'], columns: [] });
    expect(parseTemplate('{Any Column: even "this"}').columns).toEqual(['Any Column: even "this"']);
  });

  it('reads doubled braces as literal ones', () => {
    expect(parseTemplate('{{id}}').literals).toEqual(['{id}']);
    expect(parseTemplate('{{{id}}}')).toMatchObject({ literals: ['{', '}'], columns: ['id'] });
    expect(parseTemplate('{a}}}{{{b}')).toMatchObject({ literals: ['', '}{', ''], columns: ['a', 'b'] });
  });

  it.each([
    ['{', '"{" at 0 begins no column name'],
    ['a{}', '"{" at 1 begins no column name'],
    ['{a{b}', '"{" at 0 begins no column name'],
    ['{{{', '"{" at 2 begins no column name'],
    ['a}', '"}" at 1 closes nothing'],
    ['{a}}', '"}" at 3 closes nothing'],
    ['{{a}', '"}" at 3 closes nothing'],
  ])('refuses %j and says where', (template, message) => {
    expect(() => parseTemplate(template)).toThrow(TemplateError);
    expect(() => parseTemplate(template)).toThrow(message);
  });

  it('accepts exactly the grammar that the JSON Schema shows, but for the empty text', () => {
    const braces = fc
      .array(fc.constantFrom('{', '}', '{', '}', 'a', 'bc', ':'), { minLength: 1, maxLength: 10 })
      .map((p) => p.join(''));
    fc.assert(
      fc.property(braces, (template) => {
        let parsed = true;
        try {
          parseTemplate(template);
        } catch {
          parsed = false;
        }
        expect(TEMPLATE.test(template)).toBe(parsed);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('renderTemplate', () => {
  it('[I8] parse, bind and render give what concatenation gives; NULL renders as the empty text', () => {
    fc.assert(
      fc.property(
        parts,
        fc.array(value, { minLength: 4, maxLength: 4 }),
        fc.array(column),
        ({ pairs, end }, values, others) => {
          const template = parseTemplate(
            pairs.map(([literal, name]) => `${escape(literal)}{${name}}`).join('') + escape(end),
          );
          expect(template.columns).toEqual(pairs.map(([, name]) => name));
          // The row has the columns in another order, and others besides.
          const columns = [...new Set([...others, ...template.columns])].toReversed();
          const row = columns.map((name) => values[template.columns.indexOf(name)] ?? null);
          const expected = pairs.map(([literal, name]) => literal + (row[columns.indexOf(name)] ?? '')).join('') + end;
          expect(renderTemplate(bindTemplate(template, columns), row)).toBe(expected);
        },
      ),
    );
  });

  it('[I8] a name that needs a value nobody sent is unknown, wherever the value stands', () => {
    const template = bindTemplate(parseTemplate('{a}:{b}'), ['a', 'b']);
    expect(renderTemplate(template, ['1', '2'])).toBe('1:2');
    expect(renderTemplate(template, [null, '2'])).toBe(':2');
    expect(renderTemplate(template, [undefined, '2'])).toBeUndefined();
    expect(renderTemplate(template, ['1', undefined])).toBeUndefined();
  });

  it('[I8] a column that the row does not have is unknown', () => {
    expect(renderTemplate(bindTemplate(parseTemplate('{a}:{b}'), ['a']), ['1'])).toBeUndefined();
    expect(renderTemplate(bindTemplate(parseTemplate('{a}'), []), [])).toBeUndefined();
  });
});
