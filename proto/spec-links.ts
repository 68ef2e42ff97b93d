// Keeps the "Held by" lists of SPEC.md in step with the tests: a test belongs to an invariant when its title begins with
// the invariant's number in brackets, such as it('[I5] a late fill is refused', …). It may name several.
// Run: npx node proto/spec-links.ts [--write]
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The root folder of the checkout. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** A tagged test: file from the root, title without its tags. */
export interface TaggedTest {
  readonly file: string;
  readonly title: string;
  /** Numbers of the invariants. */
  readonly invariants: readonly number[];
}

const TITLE = /(['"`])((?:\[I\d+\]\s*)+)((?:\\.|(?!\1).)+)\1/gs;
const HEADING = /^### I(\d+) /gm;
const NOBODY = '- nothing yet';

/** Tagged titles in the text of a test file. */
export function taggedTests(file: string, text: string): TaggedTest[] {
  return [...text.matchAll(TITLE)].map(([, , tags = '', title = '']) => ({
    file,
    title: title.replaceAll(/\\(.)/g, '$1'),
    invariants: [...tags.matchAll(/\d+/g)].map(([number]) => Number(number)),
  }));
}

/** All tagged tests of the checkout, by file and place in it. */
export function findTaggedTests(): TaggedTest[] {
  const files = globSync('{proto,sidecar,invalidator,test}/**/*.test.ts', {
    cwd: root,
    exclude: (path) => /(^|[\\/])(node_modules|fixtures)$/.test(path),
  });
  return files.toSorted().flatMap((file) => taggedTests(file, readFileSync(`${root}/${file}`, 'utf8')));
}

/** Numbers of the invariants that a spec has, in its order. */
export function invariantsOf(spec: string): number[] {
  return [...spec.matchAll(HEADING)].map(([, number]) => Number(number));
}

/** The spec with its "Held by" lists as the tests say. */
export function withLinks(spec: string, tests: readonly TaggedTest[]): string {
  const sections = spec.split(/^(?=##+ )/m);
  return sections.map((section) => withList(section, tests)).join('');
}

function withList(section: string, tests: readonly TaggedTest[]): string {
  const [number] = invariantsOf(section);
  const at = section.indexOf('\nHeld by:\n');
  if (number === undefined || at < 0) return section;
  const holders = tests.filter(({ invariants }) => invariants.includes(number));
  const files = [...new Set(holders.map(({ file }) => file))];
  const lines = files.flatMap((file) => {
    const titles = holders.filter((holder) => holder.file === file).map(({ title }) => `  - ${title}`);
    const path = file.startsWith('proto/') ? file.slice('proto/'.length) : `../${file}`;
    return [`- [${file}](${path})`].concat(titles);
  });
  return `${section.slice(0, at)}\nHeld by:\n\n${(lines.length > 0 ? lines : [NOBODY]).join('\n')}\n\n`;
}

if (import.meta.main) {
  const path = `${root}/proto/SPEC.md`;
  const spec = readFileSync(path, 'utf8');
  const linked = withLinks(spec, findTaggedTests());
  if (process.argv.includes('--write')) writeFileSync(path, linked);
  else if (linked !== spec) {
    process.stdout.write('proto/SPEC.md is not as the tests say; run: npx node proto/spec-links.ts --write\n');
    process.exitCode = 1;
  }
}
