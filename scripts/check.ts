// npm run check: everything that a machine can say about the code without running it.
import { join } from 'node:path';
import { KitError, readArguments, scratchFolder } from '../test/kit/index.ts';
import { runCommand } from './lib/command.ts';
import { generate, readGenerated } from './lib/generate.ts';
import { type ToolRun, root, runTool } from './lib/tools.ts';

interface Check {
  readonly title: string;
  readonly mend?: string;
  readonly run: () => Promise<ToolRun>;
}

const checks: readonly Check[] = [
  { title: 'types', run: () => runTool('tsc', ['--noEmit', '--project', '.']) },
  { title: 'lint and import boundaries', run: () => runTool('oxlint', []) },
  { title: 'format', mend: 'npx oxfmt', run: () => runTool('oxfmt', ['--check']) },
  { title: 'dead code', run: () => runTool('knip', ['--no-config-hints']) },
  { title: 'wire contract lint', run: () => runTool('buf', ['lint'], join(root, 'proto')) },
  { title: 'generated code', mend: 'npm run codegen', run: compareGenerated },
];

/** Generates into a temp folder and names the files that differ from those in the checkout. */
async function compareGenerated(): Promise<ToolRun> {
  const folder = scratchFolder('codegen');
  try {
    await generate(folder.path);
    const [wanted, present] = [await readGenerated(folder.path), await readGenerated(root)];
    const paths = [...new Set([...wanted.keys(), ...present.keys()])].filter(
      (path) => wanted.get(path) !== present.get(path),
    );
    return { code: paths.length === 0 ? 0 : 1, output: paths.map((path) => `not as generated: ${path}\n`).join('') };
  } finally {
    await folder.remove();
  }
}

async function main(): Promise<void> {
  const { values, positionals: wanted } = readArguments('check', {
    allowPositionals: true,
    options: { help: { type: 'boolean', short: 'h' } },
  });
  const titles = checks.map(({ title }) => `  ${title}\n`).join('');
  if (values.help === true) {
    process.stdout.write(`Usage: npm run check [-- WORD ...]\n\nChecks (a word of its title chooses one):\n${titles}`);
    return;
  }
  const chosen = checks.filter(({ title }) => wanted.length === 0 || wanted.some((word) => title.includes(word)));
  if (chosen.length === 0)
    throw new KitError(`No check has ${wanted.join(' or ')} in its title; there are:\n${titles}`);
  let failed = 0;
  for (const { title, mend, run } of chosen) {
    const startedAt = performance.now();
    const { code, output } = await run().catch((error: Error): ToolRun => ({ code: 1, output: error.message }));
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    process.stdout.write(`== ${title}: ${code === 0 ? 'ok' : 'FAILED'} (${seconds} s)\n`);
    if (code === 0) continue;
    failed += 1;
    process.stdout.write(`${output.trimEnd()}\n${mend === undefined ? '' : `(to mend it: ${mend})\n`}\n`);
  }
  process.stdout.write(`${chosen.length - failed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 ? 0 : 1;
}

await runCommand(main);
process.disconnect?.();
