import { execFileSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { findTaggedTests, invariantsOf, root, taggedTests, withLinks } from './spec-links.ts';

const spec = readFileSync(`${root}/proto/SPEC.md`, 'utf8');
const tests = findTaggedTests();

describe('SPEC.md and the tests', () => {
  it('agree on which test holds which invariant', () => {
    expect(spec, 'run: npx node proto/spec-links.ts --write').toBe(withLinks(spec, tests));
  });

  it('have a test for every invariant, and an invariant for every tag', () => {
    const held = [...new Set(tests.flatMap(({ invariants }) => invariants))].toSorted((a, b) => a - b);
    expect(held).toEqual(invariantsOf(spec));
  });

  it('link to files that exist', () => {
    const links = [...spec.matchAll(/\]\((?<path>[^)]+)\)/g)].map(({ groups }) => groups?.['path'] ?? '');
    expect(links.length).toBeGreaterThan(0);
    expect(links.filter((path) => !existsSync(`${root}/proto/${path}`))).toEqual([]);
  });

  it('are cited by code under numbers that exist', () => {
    const sources = globSync('{proto,sidecar,invalidator,test,scripts}/**/*.{ts,proto}', {
      cwd: root,
      exclude: (path) => /(^|[\\/])node_modules$/.test(path),
    });
    const cited = sources.flatMap((file) =>
      [...readFileSync(`${root}/${file}`, 'utf8').matchAll(/SPEC (?<list>I\d+(?:(?:, | and )I\d+)*)/g)].flatMap(
        ({ groups }) => [...(groups?.['list'] ?? '').matchAll(/\d+/g)].map(([number]) => `I${number} in ${file}`),
      ),
    );
    const known = invariantsOf(spec).map((number) => `I${number} `);
    expect(cited.length).toBeGreaterThan(0);
    expect(cited.filter((one) => !known.some((prefix) => one.startsWith(prefix)))).toEqual([]);
  });
});

describe('the checker', () => {
  // "#" stands for "I", or these would count as tags of this file.
  const source = `
    it('[#5] one', () => {});
    it.each(cases)(
      "[#7] [#8] it's two: %s", () => {});
    it(\`[#5]  three's \\\`tick\\\`\`, () => {});
    it('[#5] fo\\'ur', () => {}); it('no tag [#5]', () => {});
  `.replaceAll('[#', '[I');
  const found = taggedTests('a/b.test.ts', source);

  it('finds titles in every kind of quotes, with all their tags', () => {
    expect(found).toEqual([
      { file: 'a/b.test.ts', title: 'one', invariants: [5] },
      { file: 'a/b.test.ts', title: "it's two: %s", invariants: [7, 8] },
      { file: 'a/b.test.ts', title: "three's `tick`", invariants: [5] },
      { file: 'a/b.test.ts', title: "fo'ur", invariants: [5] },
    ]);
  });

  it('writes the lists anew, and only them', () => {
    const before =
      '# T\n\n### I5 Five\n\nRule.\n\nHeld by:\n\n- [gone](../gone)\n\n### I9 Nine\n\nHeld by:\n\n## End\n\nHeld by:\nx\n';
    const after = withLinks(before, found);
    expect(after).toBe(
      "# T\n\n### I5 Five\n\nRule.\n\nHeld by:\n\n- [a/b.test.ts](../a/b.test.ts)\n  - one\n  - three's `tick`\n  - fo'ur\n\n" +
        '### I9 Nine\n\nHeld by:\n\n- nothing yet\n\n## End\n\nHeld by:\nx\n',
    );
    expect(withLinks(after, found)).toBe(after);
  });

  it('runs as a command', () => {
    expect(execFileSync(process.execPath, [`${root}/proto/spec-links.ts`], { encoding: 'utf8' })).toBe('');
  });
});
