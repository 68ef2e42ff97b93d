import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Service, bundle, fingerprint } from '../../scripts/lib/build.ts';
import { cached } from './cache.ts';
import { KitError } from './error.ts';

/** How to run a service: `node ...args`, with `env` beside its own. */
export interface Program {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const programs = new Map<Service, Promise<Program>>();

/**
 * A service as it is shipped: bundled, with the bytecode of a first run. Made anew whenever its sources have changed, and
 * kept in the cache folder. Under coverage it is run from its sources instead, which is what coverage counts.
 */
export function programOf(service: Service): Promise<Program> {
  let program = programs.get(service);
  if (program === undefined) programs.set(service, (program = prepare(service)));
  return program;
}

async function prepare(service: Service): Promise<Program> {
  if (process.env['NODE_V8_COVERAGE'] !== undefined) {
    const script = fileURLToPath(new URL(`../../${service}/src/main.ts`, import.meta.url));
    return { args: ['--disable-warning=ExperimentalWarning', script], env: {} };
  }
  const bundled = await cached(`${service}-${await fingerprint(service)}`, async (folder) => {
    // The packages are CommonJS in part, ours are not: the folder is none of a package.
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }\n');
    await bundle(service, folder).catch((error: unknown) => {
      throw new KitError(`${service} cannot be bundled: ${(error as Error).message}`);
    });
    await mkdir(join(folder, 'bytecode'));
  });
  const bytecode = join(bundled, 'bytecode');
  const program = { args: [join(bundled, 'main.js')], env: { NODE_COMPILE_CACHE: bytecode } };
  // Node files bytecode under the path of what it compiled, so this comes after the folder has got its name.
  if ((await readdir(bytecode)).length === 0)
    await promisify(execFile)(process.execPath, [...program.args, '--help'], { env: program.env });
  return program;
}
