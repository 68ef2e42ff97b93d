import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

/** The environment with which a bundle finds its bytecode in `folder`. */
export function bytecodeEnv(folder: string): Readonly<Record<string, string>> {
  // Portable: filed under the path from this folder to the module, and for any user; else under the absolute path, in a
  // folder of the user's own. So it works wherever, and by whom, the two are read together (an image runs as any UID).
  return { NODE_COMPILE_CACHE: folder, NODE_COMPILE_CACHE_PORTABLE: '1' };
}

/**
 * Lets `node` write the bytecode of a bundle (its folder has a main.js that understands --help) into `folder`. Only a Node
 * of the same version and architecture reads it; any other ignores it. The same bundle in the same place gives the same
 * bytes (the place is in them, but matters to nobody who reads them elsewhere).
 */
export async function writeBytecode(bundle: string, folder: string, node = process.execPath): Promise<void> {
  await mkdir(folder, { recursive: true });
  const env = bytecodeEnv(folder);
  // Each run hashes strings with a seed of its own, and compiles in threads: both show in the bytecode without this flag.
  // It is none of those that V8 ties bytecode to.
  const run = (...args: string[]): Promise<unknown> =>
    promisify(execFile)(node, ['--predictable', ...args], { env }).catch((error: Error & { stderr?: string }) => {
      throw new Error(`the bundle ${bundle} does not load: ${lastLines(error.stderr ?? error.message)}`);
    });
  await run(join(bundle, 'main.js'), '--help');
  // What main.js loads only when it is needed.
  const others = (await readdir(bundle)).filter((name) => name.endsWith('.js') && name !== 'main.js').toSorted();
  const imports = others.map((name) => `await import(${JSON.stringify(pathToFileURL(join(bundle, name)).href)});`);
  await run('--input-type=module', '--eval', imports.join('\n'));
  // Node writes the files for itself alone.
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) await chmod(join(entry.parentPath, entry.name), 0o644);
}

/** A bundle has lines of a megabyte, and Node shows the one that failed. */
function lastLines(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  return lines
    .map((line) => line.slice(0, 200))
    .slice(-8)
    .join('\n');
}
