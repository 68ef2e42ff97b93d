import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { unzipSync } from 'fflate';
import { cached } from './cache.ts';
import { KitError, type Progress } from './error.ts';

const version = 'go1.26.8';
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** SHA-256 of the toolchain's archive. */
const archives: Readonly<Record<string, string>> = {
  'linux-amd64': '30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7',
  'linux-arm64': '02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99',
  'darwin-amd64': 'fe99a2009e5bb51e06d7784f1a486478673512041c2671157bd382806e2aedcf',
  'darwin-arm64': '0aad5fb52b88498885290178adc0bcfe429bc63012621af9f83282eb640bd9c7',
};

/**
 * The go command: from PATH, else fetched into the cache folder from where Go itself gets other versions of its toolchain, the
 * module proxy (https://go.dev/doc/toolchain). GOPROXY names another one.
 * @throws KitError where there is none for this machine, or it cannot be fetched
 */
export async function goCommand(progress: Progress): Promise<string> {
  if (spawnSync('go', ['version'], { stdio: 'ignore' }).status === 0) return 'go';
  const platform = `${process.platform}-${architectures[process.arch] ?? process.arch}`;
  const sha256 = archives[platform];
  if (sha256 === undefined)
    throw new KitError(
      `there is no "go" in PATH, and none to fetch for ${platform}: install Go 1.26 or newer (https://go.dev/dl).`,
    );
  const folder = await cached(`${version}-${platform}`, async (draft) => {
    progress(`fetching Go (${version}, 70 MB, once)`);
    await unpack(await fetchArchive(platform, sha256), draft);
  });
  return join(folder, 'bin', 'go');
}

async function fetchArchive(platform: string, sha256: string): Promise<Uint8Array> {
  const named = (process.env['GOPROXY'] ?? '').split(/[,|]/).find((proxy) => proxy.startsWith('http'));
  const proxy = named ?? 'https://proxy.golang.org';
  const url = `${proxy.replace(/\/$/, '')}/golang.org/toolchain/@v/v0.0.1-${version}.${platform}.zip`;
  const found = await fetch(url).catch((error: unknown) => {
    throw new KitError(`Go cannot be fetched from ${url} (${String((error as Error).cause ?? error)}): install it.`);
  });
  if (!found.ok)
    throw new KitError(`Go cannot be fetched: ${url} answers ${found.status}. Install it (https://go.dev/dl).`);
  const archive = new Uint8Array(await found.arrayBuffer());
  const digest = createHash('sha256').update(archive).digest('hex');
  if (digest !== sha256) throw new KitError(`${url} has the SHA-256 ${digest}, expected ${sha256}: it was altered.`);
  return archive;
}

/** As the go command unpacks a toolchain (cmd/go/internal/toolchain): no rights are in the archive, and go.mod files have another name. */
async function unpack(archive: Uint8Array, folder: string): Promise<void> {
  for (const [name, bytes] of Object.entries(unzipSync(archive))) {
    const path = name.split('/').slice(2); // golang.org/toolchain@VERSION/…
    const file = join(folder, ...path.slice(0, -1), path.at(-1) === '_go.mod' ? 'go.mod' : (path.at(-1) ?? ''));
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, bytes);
    if (path[0] === 'bin' || (path[0] === 'pkg' && path[1] === 'tool') || basename(file).endsWith('.bash'))
      await chmod(file, 0o755);
  }
}
