import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, cacheFolder } from './cache.ts';
import { runToEnd } from './child.ts';
import { KitError, type Progress } from './error.ts';

/** A program, and where the libraries are that the system may not have. */
export interface MemcachedCommand {
  readonly command: string;
  readonly libraries?: string;
}

const entry = `memcached-debian-${process.arch}`;
/** What of its dependencies a small machine may lack; the C library is there wherever apt is. */
const LIBRARIES = /^ *Depends: (lib(?:event|sasl2|ssl)[\w.+-]*)$/gm;

function runs({ command, libraries }: MemcachedCommand): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore', env: environmentOf(libraries) }).status === 0;
}

export function environmentOf(libraries: string | undefined): Record<string, string | undefined> {
  return { PATH: process.env['PATH'], ...(libraries !== undefined && { LD_LIBRARY_PATH: libraries }) };
}

/**
 * memcached from PATH, else Debian's or Ubuntu's package, fetched with apt and unpacked into the cache folder: that needs no
 * rights, changes nothing of the system and leaves no service running. Nothing where neither can be had.
 */
export async function memcachedCommand(progress: Progress): Promise<MemcachedCommand | undefined> {
  const own: MemcachedCommand = { command: 'memcached' };
  if (runs(own)) return own;
  const hasApt = ['apt-get', 'dpkg-deb'].every(
    (tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).status === 0,
  );
  if (!existsSync(join(cacheFolder(), entry)) && !hasApt) return undefined;
  const root = join(await cached(entry, (draft) => fetchMemcached(draft, progress)), 'root');
  const folder = existsSync(join(root, 'usr', 'lib')) ? join(root, 'usr', 'lib') : root;
  const architecture = readdirSync(folder).find((name) => name.endsWith('-linux-gnu'));
  const fetched = {
    command: join(root, 'usr', 'bin', 'memcached'),
    ...(architecture !== undefined && { libraries: join(folder, architecture) }),
  };
  return runs(fetched) ? fetched : undefined;
}

/** With lists of packages of its own: those of the system may be missing or old, and only root may renew them. */
async function fetchMemcached(draft: string, progress: Progress): Promise<void> {
  progress('fetching memcached with apt (once)');
  const [lists, cache, root] = ['lists', 'cache', 'root'].map((name) => join(draft, name)) as [string, string, string];
  const packages = join(draft, 'packages');
  for (const folder of [join(lists, 'partial'), join(cache, 'archives', 'partial'), root, packages])
    await mkdir(folder, { recursive: true });
  // Without the sandbox apt would become a user that cannot enter these folders.
  const settings = [`Dir::State::lists=${lists}`, `Dir::Cache=${cache}`, 'APT::Sandbox::User=root'].flatMap((one) => [
    '-o',
    one,
  ]);
  await runToEnd('apt-get', [...settings, 'update']);
  const depends = await runToEnd('apt-cache', [...settings, 'depends', '--important', 'memcached']);
  const names = [...depends.matchAll(LIBRARIES)].map((match) => match[1] as string);
  await runToEnd('apt-get', [...settings, 'download', 'memcached', ...names], { cwd: packages });
  const files = readdirSync(packages);
  if (files.length === 0) throw new KitError('apt downloaded no package for memcached.');
  for (const file of files) await runToEnd('dpkg-deb', ['--extract', join(packages, file), root]);
  for (const folder of [lists, cache, packages]) await rm(folder, { recursive: true });
}
