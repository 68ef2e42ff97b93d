import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';
import { rolldown } from 'rolldown';
import { root } from './tools.ts';

/** What is shipped as a program of its own. */
export type Service = 'sidecar' | 'invalidator';

/** What a service is made of, from the root. */
const sources: Readonly<Record<Service, readonly string[]>> = {
  sidecar: ['proto/src', 'proto/runtime/src', 'sidecar/src'],
  invalidator: ['proto/src', 'proto/runtime/src', 'invalidator/src'],
};
const settings = ['pnpm-lock.yaml', 'scripts/lib/build.ts', 'scripts/lib/bytecode.ts'];
const isSource = /(?<!\.test)\.(?:ts|js)$/;

/** A text that changes whenever the bundle of a service would. */
export async function fingerprint(service: Service): Promise<string> {
  const hash = createHash('sha256').update(process.version);
  const folders = await Promise.all(sources[service].map((folder) => filesBelow(join(root, folder))));
  for (const file of [
    ...folders.flat().filter((name) => isSource.test(name)),
    ...settings.map((name) => join(root, name)),
  ])
    hash.update(`\n${relative(root, file)}\n`).update(await readFile(file));
  return hash.digest('hex').slice(0, 16);
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

/**
 * Bundles a service with all of its packages into `folder`, to be run as `node folder/main.js`. One file instead of four
 * hundred: see sidecar/src/memory.ts for what that saves. Names are kept, so that stack traces can be read.
 *
 * @returns the path of every file that is in it
 * @throws Error where a file cannot be parsed or an import cannot be found
 */
export async function bundle(service: Service, folder: string): Promise<string[]> {
  const build = await rolldown({
    input: join(root, service, 'src/main.ts'),
    platform: 'node',
    tsconfig: false,
    // Optional parts of packages, which they try to load and do without.
    external: ['pg-native'],
    onLog: (level, log) => {
      if (level === 'warn' && log.code === 'UNRESOLVED_IMPORT') throw new Error(log.message);
    },
  });
  try {
    const { output } = await build.write({
      dir: folder,
      format: 'esm',
      minify: { compress: true, mangle: false, codegen: { removeWhitespace: true } },
      entryFileNames: 'main.js',
      chunkFileNames: '[name].js',
    });
    if (!existsSync(join(folder, 'main.js'))) throw new Error(`the bundle of ${service} has no main.js`);
    const modules = output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : []));
    return [...new Set(modules)].filter((id) => isAbsolute(id)).toSorted();
  } finally {
    await build.close();
  }
}
