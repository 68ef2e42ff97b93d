import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { alone } from './lock.ts';
import { type Scratch, scratchFolder } from './scratch.ts';

describe('alone', () => {
  let cache: Scratch;
  beforeEach(() => {
    cache = scratchFolder('lock');
    chmodSync(cache.path, 0o755); // the cache must be open to others
    vi.stubEnv('TIDEMARK_CACHE', join(cache.path, 'cache'));
  });
  afterEach(() => cache.remove());

  const file = (): string => join(cache.path, 'cache', 'build.lock');

  it('lets one work at a time, and tells who waits for whom', async () => {
    const told: string[] = [];
    const events: string[] = [];
    const work = (name: string) =>
      alone(
        'build',
        (text) => told.push(text),
        async () => {
          events.push(`${name} begins`);
          // Whoever finds the file before anything is written in it looks again, and tells of nobody who is done by then.
          await vi.waitFor(() => expect(told).not.toEqual([]), { timeout: 30_000 });
          events.push(`${name} ends`);
          return name;
        },
      );
    expect(await Promise.all([work('a'), work('b')])).toEqual(['a', 'b']);
    const [first] = events[0]?.split(' ') ?? [];
    const second = first === 'a' ? 'b' : 'a';
    expect(events).toEqual([`${first} begins`, `${first} ends`, `${second} begins`, `${second} ends`]);
    expect(told).toEqual([`waiting for process ${process.pid}, which does the same (build)`]);
    expect(existsSync(file())).toBe(false);
  });

  it('is free again after work that failed, and after a process that died in its work', async () => {
    const none = () => undefined;
    await expect(alone('build', none, () => Promise.reject(new Error('no compiler')))).rejects.toThrow('no compiler');
    const { pid } = spawnSync('true');
    writeFileSync(file(), `${pid}`);
    expect(await alone('build', none, async () => 'done')).toBe('done');
  });
});
