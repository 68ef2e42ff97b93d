import { chmodSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { cached } from './cache.ts';
import { type Scratch, scratchFolder } from './scratch.ts';

let folder: Scratch;

beforeEach(() => {
  folder = scratchFolder('cache-test');
  chmodSync(folder.path, 0o755);
  mkdirSync(join(folder.path, 'cache'));
  vi.stubEnv('TIDEMARK_CACHE', join(folder.path, 'cache'));
});

afterEach(() => folder.remove());

test('two that build the same entry at once both get the one complete entry', async () => {
  const gate = Promise.withResolvers<void>();
  let building = 0;
  const build = (word: string) => async (draft: string) => {
    building += 1;
    if (building === 2) gate.resolve();
    await gate.promise;
    await writeFile(join(draft, 'word'), word);
  };
  const [one, two] = await Promise.all([cached('entry', build('one')), cached('entry', build('two'))]);
  expect(one).toBe(two);
  expect(['one', 'two']).toContain(readFileSync(join(one, 'word'), 'utf8'));
  expect(readdirSync(join(folder.path, 'cache'))).toEqual(['entry']);
});

test('a build that fails leaves nothing, and the next one builds again', async () => {
  const failing = cached('entry', () => Promise.reject(new Error('no network')));
  await expect(failing).rejects.toThrow('no network');
  expect(readdirSync(join(folder.path, 'cache'))).toEqual([]);
  await cached('entry', (draft) => writeFile(join(draft, 'word'), 'later'));
  expect(readdirSync(join(folder.path, 'cache'))).toEqual(['entry']);
});
