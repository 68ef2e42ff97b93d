import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, cacheFolder } from './cache.ts';
import { runToEnd } from './child.ts';
import type { Progress } from './error.ts';

const version = 'v2.12.0';
const module = `github.com/Shopify/toxiproxy/v2/cmd/server@${version}`;
const entry = `toxiproxy-${version}-${process.platform}-${process.arch}`;

function runs(command: string, arg: string): boolean {
  return spawnSync(command, [arg], { stdio: 'ignore' }).status === 0;
}

/** toxiproxy-server from PATH, else built from its Go module into the cache. Nothing where neither can be had. */
export async function toxiproxyCommand(progress: Progress): Promise<string | undefined> {
  if (runs('toxiproxy-server', '-version')) return 'toxiproxy-server';
  if (!existsSync(join(cacheFolder(), entry)) && !runs('go', 'version')) return undefined;
  try {
    return join(await cached(entry, (draft) => build(draft, progress)), 'toxiproxy-server');
  } catch (error) {
    progress(`toxiproxy could not be built: ${(error as Error).message.split('\n').at(-1) ?? ''}`);
    return undefined;
  }
}

async function build(draft: string, progress: Progress): Promise<void> {
  progress('building toxiproxy with Go (once)');
  const bin = join(draft, 'bin');
  await runToEnd('go', ['install', module], { cwd: draft, env: { ...process.env, GOBIN: bin } });
  await rename(join(bin, 'server'), join(draft, 'toxiproxy-server'));
  await rm(bin, { recursive: true });
}
