import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** A page of Markdown whose code blocks are tested; CONTRIBUTING.md says what each kind of block is for. */
export class Page {
  readonly name: string;
  readonly #text: string;
  readonly #folder: string;

  constructor(file: string) {
    this.name = basename(file);
    this.#folder = dirname(file);
    this.#text = readFileSync(file, 'utf8');
  }

  /** The code blocks whose opening line is this. */
  blocks(opening: string): string[] {
    return this.#blocks()
      .filter(({ info }) => info === opening)
      .map(({ code }) => code);
  }

  /** The session that the page shows, and what it prints; undefined for a page without one. */
  session(): { readonly script: string; readonly prints: string } | undefined {
    const blocks = this.#blocks();
    const [at, another] = blocks.flatMap(({ info }, index) => (info === 'sh session' ? [index] : []));
    if (at === undefined) return undefined;
    const output = blocks[at + 1];
    if (another !== undefined) throw new Error(`${this.name} has two blocks \`sh session\`; one is run`);
    if (output?.info !== 'text output')
      throw new Error(`${this.name}: after \`sh session\` a block \`text output\` must say what it prints`);
    return { script: blocks[at]?.code ?? '', prints: output.code };
  }

  /** What `<!-- needs: a, b -->` names. */
  needs(): string[] {
    const [, list = ''] = /^<!-- needs:(.*)-->$/m.exec(this.#text) ?? [];
    return list
      .split(',')
      .map((word) => word.trim())
      .filter((word) => word !== '');
  }

  /** The files that its links lead to, by their path. */
  linkedFiles(): string[] {
    return [...this.#text.matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)].map(([, file]) =>
      join(this.#folder, file as string),
    );
  }

  #blocks(): { info: string; code: string }[] {
    return [...this.#text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(([, info = '', code = '']) => ({ info, code }));
  }
}

/**
 * Each line of the output beside what was expected of it: the expected line itself where they agree. `*` in an expected line stands
 * for anything.
 */
export function comparable(output: string, expected: string): { readonly printed: string[]; readonly shown: string[] } {
  const shown = expected.trimEnd().split('\n');
  const printed = output
    .trimEnd()
    .split('\n')
    .map((line, index) => {
      const pattern = shown[index];
      return pattern !== undefined && matches(line.trimEnd(), pattern) ? pattern : line;
    });
  return { printed, shown };
}

function matches(line: string, pattern: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('.*')}$`).test(line);
}
