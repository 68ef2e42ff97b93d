import { z } from 'zod';

/**
 * A list that is read until the first element that does not fit, of which alone is told. zod itself tells of each: of a
 * malformed body of 3 MB that were a million issues, ten seconds and a gigabyte.
 */
export function listOf<Element extends z.ZodType>(element: Element, most: number) {
  return z
    .array(z.unknown())
    .max(most, `expected at most ${most}`)
    .transform((found, context): z.output<Element>[] => {
      const list: z.output<Element>[] = [];
      for (const [index, one] of found.entries()) {
        const parsed = element.safeParse(one);
        if (!parsed.success) {
          for (const { message, path } of parsed.error.issues)
            context.addIssue({ code: 'custom', message, path: [index, ...path] });
          return z.NEVER;
        }
        list.push(parsed.data);
      }
      return list;
    });
}

const MOST_ISSUES = 5;
const MOST_CHARS = 200;

/**
 * What is wrong with a document, in so few words that an answer or a log line can hold them.
 *
 * @param prefix of each path
 */
export function describeIssues({ issues }: z.ZodError, prefix = ''): string {
  const told = issues.slice(0, MOST_ISSUES).map(({ path, message }) => {
    const place = `${prefix}${path.map(String).join('.')}` || 'body';
    return `${cut(place)}: ${cut(message)}`;
  });
  if (issues.length > MOST_ISSUES) told.push(`and ${issues.length - MOST_ISSUES} more`);
  return told.join('; ');
}

function cut(text: string): string {
  return text.length <= MOST_CHARS ? text : `${text.slice(0, MOST_CHARS).toWellFormed()}...`;
}
