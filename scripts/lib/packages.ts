import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';
import { root } from './tools.ts';

/** A package from the registry of which something is in a bundle. */
export interface ShippedPackage {
  readonly name: string;
  readonly version: string;
  /** The SPDX expression of its manifest. */
  readonly license: string;
  readonly folder: string;
  /** The files of it that are shipped. */
  readonly files: readonly string[];
  /** SHA-512 of its archive in the registry, in hex. */
  readonly sha512: string;
}

interface Lockfile {
  readonly packages: Readonly<Record<string, { readonly resolution?: { readonly integrity?: string } }>>;
}

/**
 * The packages that files of bundles come from, by name and version.
 *
 * @throws Error for a package that the lockfile does not know or whose manifest names no licence
 */
export function packagesOf(files: readonly string[]): ShippedPackage[] {
  const byFolder = new Map<string, string[]>();
  for (const file of files) {
    if (!file.includes('/node_modules/')) continue;
    const folder = packageFolder(file);
    byFolder.set(folder, [...(byFolder.get(folder) ?? []), file]);
  }
  const lock = parse(readFileSync(join(root, 'pnpm-lock.yaml'), 'utf8')) as Lockfile;
  return [...byFolder]
    .map(([folder, own]) => describe(folder, own, lock))
    .toSorted((a, b) => (`${a.name}@${a.version}` < `${b.name}@${b.version}` ? -1 : 1));
}

/** The nearest folder upwards with a manifest that has a name: some packages have nameless ones inside. */
function packageFolder(file: string): string {
  let folder = dirname(file);
  while (manifestOf(folder)?.name === undefined) {
    if (folder === dirname(folder)) throw new Error(`${file} is in no package`);
    folder = dirname(folder);
  }
  return folder;
}

interface Manifest {
  readonly name?: string;
  readonly version?: string;
  readonly license?: unknown;
}

function manifestOf(folder: string): Manifest | undefined {
  const file = join(folder, 'package.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Manifest) : undefined;
}

function describe(folder: string, files: readonly string[], lock: Lockfile): ShippedPackage {
  const { name = '', version = '', license } = manifestOf(folder) as Manifest;
  const id = `${name}@${version}`;
  if (typeof license !== 'string')
    throw new Error(`${id} is bundled but names no licence in its package.json: find out, or do without it`);
  const integrity = lock.packages[id]?.resolution?.integrity;
  if (integrity?.startsWith('sha512-') !== true)
    throw new Error(`${id} is bundled but has no SHA-512 in pnpm-lock.yaml: found ${integrity ?? 'nothing'}`);
  const sha512 = Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex');
  return { name, version, license, folder, files, sha512 };
}
