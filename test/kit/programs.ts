import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Service, bundle, fingerprint } from '../../scripts/lib/build.ts';
import { bytecodeEnv, writeBytecode } from '../../scripts/lib/bytecode.ts';
import type { Account } from './account.ts';
import { cached } from './cache.ts';
import { KitError } from './error.ts';

/** How to run a service: `node ...args`, with `env` beside its own. */
export interface Program {
  /** Another Node than the one that runs this. */
  readonly node?: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Who runs it, where we are root. */
  readonly owner?: Account | undefined;
}

/** Finds the program of a service. */
export type Programs = (service: Service) => Promise<Program>;

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
    try {
      await bundle(service, folder);
      await writeBytecode(folder, join(folder, 'bytecode'));
    } catch (error) {
      throw new KitError(`${service} cannot be bundled: ${(error as Error).message}`);
    }
  });
  return { args: [join(bundled, 'main.js')], env: bytecodeEnv(join(bundled, 'bytecode')) };
}
