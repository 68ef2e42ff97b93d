import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { faultKinds } from './faults/index.ts';
import { parseOptions } from './options.ts';

test('without arguments every kind of fault comes once', () => {
  expect(parseOptions([])).toMatchObject({ minutes: undefined, seed: 1, kinds: faultKinds, json: false });
});

test('faults are chosen by their names or beginnings', () => {
  const options = parseOptions(['--faults', 'kill,cut', '--seed', '7', '--minutes', '30', '--json']);
  if (options === 'help') throw new Error('help');
  expect(options).toMatchObject({ minutes: 30, seed: 7, json: true });
  expect(options.kinds.map(({ name }) => name)).toEqual([
    'kill-postgres',
    'kill-kafka',
    'kill-redis',
    'kill-invalidator',
    'kill-applier',
    'kill-sidecar',
    'cut',
  ]);
  expect(parseOptions(['--help', '--seed', 'x'])).toBe('help');
});

test('what is wrong is told in a sentence', () => {
  expect(() => parseOptions(['--faults', 'flood'])).toThrow(
    '--faults names "flood", but there are only: kill-postgres,',
  );
  expect(() => parseOptions(['--minutes', 'ten'])).toThrow('--minutes is "ten", but must be a number above 0');
  expect(() => parseOptions(['--fast'])).toThrow(/--fast.*--help/);
});

test('the README shows commands that are understood', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const [, block = ''] = /^```sh history\n([\s\S]*?)^```$/m.exec(readme) ?? [];
  const commands = block.trim().split('\n');
  expect(commands.length).toBeGreaterThan(0);
  for (const command of commands) {
    const [, args = ''] = /^npm run history -- (.*)$/.exec(command) ?? [];
    expect(parseOptions(args.split(' '))).not.toBe('help');
  }
});
