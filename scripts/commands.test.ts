import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

// A few of them only: each is a process that loads what the command needs.
it.each([
  ['codegen', ['--bogus'], /^tidemark: Unknown option '--bogus' \(npm run codegen -- --help lists what there is\)\n$/],
  ['soak', ['--minutes', 'ten'], /^tidemark: --minutes is "ten", but must be a number above 0 and at most \d+\.\n$/],
  ['check', ['typos'], /^tidemark: No check has typos in its title; there are:\n {2}types\n/],
])('npm run %s -- %s does nothing and says what was expected', (command, args, problem) => {
  const script = fileURLToPath(new URL(`${command}.ts`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toMatch(problem);
});
