import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isRoot, othersCanEnter } from './account.ts';
import { KitError } from './error.ts';

/** The folder for what is downloaded or prepared once: TIDEMARK_CACHE, else ~/.cache/tidemark. */
export function cacheFolder(): string {
  const named = process.env['TIDEMARK_CACHE'];
  if (named !== undefined && named !== '') {
    if (isRoot && !othersCanEnter(named)) {
      throw new KitError(
        `TIDEMARK_CACHE is ${named}, which only root can enter, but Postgres runs as another user: name a folder that others can enter.`,
      );
    }
    return named;
  }
  const inHome = join(homedir(), '.cache', 'tidemark');
  // root's home is closed to others on most machines, and the Postgres that root starts is another user's.
  return isRoot && !othersCanEnter(inHome) ? '/var/cache/tidemark' : inHome;
}

/**
 * The path of a cached folder, made by `build` when it is not there yet. Builds happen in a folder of their own that is
 * renamed when complete, so a reader never sees half of one; two that build at once do the work twice and keep one.
 */
export async function cached(name: string, build: (folder: string) => Promise<void>): Promise<string> {
  const target = join(cacheFolder(), name);
  if (existsSync(target)) return target;
  const draft = `${target}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    await mkdir(draft, { recursive: true });
    await chmod(draft, 0o755);
  } catch (error) {
    throw new KitError(
      `the cache folder ${cacheFolder()} cannot be written (${(error as Error).message}): set TIDEMARK_CACHE to a folder that can.`,
    );
  }
  try {
    await build(draft);
    await rename(draft, target);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (!((code === 'ENOTEMPTY' || code === 'EEXIST') && existsSync(target))) throw error;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return target;
}
