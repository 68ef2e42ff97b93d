import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { cacheFolder } from './cache.ts';
import type { Progress } from './error.ts';

const askAgainMs = 500;

/**
 * Does work that takes minutes of the whole machine in one process at a time; others wait, and say for whom. It spares
 * time, and is no guard: two that find the lock of a dead process in the same moment both go on.
 * @param name a word for the file in the cache folder that holds the id of the process at work
 */
export async function alone<T>(name: string, progress: Progress, work: () => Promise<T>): Promise<T> {
  const file = join(cacheFolder(), `${name}.lock`);
  await mkdir(cacheFolder(), { recursive: true });
  for (let told = false; !(await taken(file));) {
    const holder = await holderOf(file);
    if (holder === undefined) {
      await rm(file, { force: true });
    } else {
      if (!told) progress(`waiting for process ${holder}, which does the same (${name})`);
      told = true;
      await wait(askAgainMs);
    }
  }
  try {
    return await work();
  } finally {
    await rm(file, { force: true });
  }
}

async function taken(file: string): Promise<boolean> {
  try {
    await writeFile(file, `${process.pid}`, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** The process that holds the lock; nothing where it is gone, however it went. */
async function holderOf(file: string): Promise<number | undefined> {
  // Somebody who has just made the file may not have written it yet: an empty one is asked again before it counts.
  let text = await readFile(file, 'utf8').catch(() => '');
  if (text === '') {
    await wait(askAgainMs);
    text = await readFile(file, 'utf8').catch(() => '');
  }
  const pid = Number(text);
  if (!(pid > 0)) return undefined;
  try {
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? pid : undefined;
  }
}
