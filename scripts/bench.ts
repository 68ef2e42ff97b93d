// npm run bench: what the hot paths cost, each beside a peer or a limit in the same run. Not part of the tests: times are
// only worth something on a machine that does nothing else.
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { basename, join } from 'node:path';
import { KitError, readArguments } from '../test/kit/index.ts';
import { runCommand } from './lib/command.ts';
import { root } from './lib/tools.ts';

const help = `Usage: npm run bench [-- WORD ...]

Runs the files of test/bench one after the other; words choose those whose name contains one of them.
`;

function main(): void {
  const { values, positionals: words } = readArguments('bench', {
    allowPositionals: true,
    options: { help: { type: 'boolean', short: 'h' } },
  });
  if (values.help === true) {
    process.stdout.write(help);
    return;
  }
  const all = globSync('test/bench/*.ts', { cwd: root }).toSorted();
  const files = all.filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
  if (files.length === 0) {
    const names = all.map((file) => basename(file, '.ts')).join(', ');
    throw new KitError(`No bench has a name with ${words.join(' or ')} in it; there are ${names}.`);
  }
  for (const file of files) {
    process.stdout.write(`\n== ${file}\n`);
    const { status } = spawnSync(process.execPath, [join(root, file)], { cwd: root, stdio: 'inherit' });
    if (status !== 0) process.exitCode = 1;
  }
}

await runCommand(main);
process.disconnect?.();
