// npm run bench: what the hot paths cost, each beside a peer or a limit in the same run. Not part of the tests: times are
// only worth something on a machine that does nothing else.
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './lib/tools.ts';

const help = `Usage: npm run bench [-- WORD ...]

Runs the files of test/bench one after the other; words choose those whose name contains one of them.
`;

const words = process.argv.slice(2);
if (words.includes('--help')) {
  process.stdout.write(help);
  process.exit(0);
}
const files = globSync('test/bench/*.ts', { cwd: root })
  .toSorted()
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
if (files.length === 0) {
  process.stderr.write(`no bench has a name with ${words.join(' or ')} in it\n`);
  process.exit(1);
}
let failed = 0;
for (const file of files) {
  process.stdout.write(`\n== ${file}\n`);
  const { status } = spawnSync(process.execPath, [join(root, file)], { cwd: root, stdio: 'inherit' });
  if (status !== 0) failed += 1;
}
process.exit(failed === 0 ? 0 : 1);
