// npm run build: what the image holds. The same sources, lockfile, Node and folder give the same bytes.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, lutimesSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { bundle, type Service } from './lib/build.ts';
import { bytecodeEnv, writeBytecode } from './lib/bytecode.ts';
import { noticesOf } from './lib/notices.ts';
import { packagesOf } from './lib/packages.ts';
import { sbomOf, type NodeRuntime } from './lib/sbom.ts';
import { root } from './lib/tools.ts';

const help = `Usage: npm run build [-- --out FOLDER] [--node FILE]

Writes what the image holds to FOLDER/app (default: dist), in place of what is there:

  sidecar/, invalidator/     the bundles; each is started by its main.js
  bytecode/                  of both, for NODE_COMPILE_CACHE with NODE_COMPILE_CACHE_PORTABLE=1
  sbom.cdx.json              CycloneDX 1.6: the packages in the bundles, and Node
  THIRD-PARTY-NOTICES.txt    the licence texts of the packages
  LICENSE

  --node FILE   the Node that will run it, and makes the bytecode (default: the one that runs this)

Files get the time SOURCE_DATE_EPOCH (default: 0).
`;

const services: readonly Service[] = ['sidecar', 'invalidator'];

/** Without the kit that other commands have for it: nothing of test/ is there when an image is built (.dockerignore). */
function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        out: { type: 'string', default: 'dist' },
        node: { type: 'string', default: process.execPath },
        help: { type: 'boolean', short: 'h' },
      },
    });
    return values;
  } catch (error) {
    process.stderr.write(`tidemark: ${(error as Error).message} (npm run build -- --help lists what there is)\n`);
    process.exit(1);
  }
}

async function main(): Promise<void> {
  const values = readOptions();
  if (values.help === true) {
    process.stdout.write(help);
    return;
  }
  const app = resolve(values.out, 'app');
  const node = resolve(values.node);
  const runtime = runtimeOf(node);
  rmSync(app, { recursive: true, force: true });
  mkdirSync(app, { recursive: true });
  // The bundles are ES modules, whatever package they lie in.
  writeFileSync(join(app, 'package.json'), '{ "type": "module" }\n');
  const files = new Map<Service, readonly string[]>();
  for (const service of services) files.set(service, await bundle(service, join(app, service)));
  for (const service of services) await writeBytecode(join(app, service), join(app, 'bytecode'), node);

  const packages = packagesOf([...new Set([...files.values()].flat())]);
  const bundlesOf = (paths: readonly string[]): Service[] =>
    services.filter((service) => paths.some((path) => files.get(service)?.includes(path)));
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  writeFileSync(
    join(app, 'sbom.cdx.json'),
    sbomOf({
      version,
      node: runtime,
      packages: packages.map((each) => ({ ...each, bundles: bundlesOf(each.files) })),
    }),
  );
  writeFileSync(join(app, 'THIRD-PARTY-NOTICES.txt'), noticesOf(packages));
  cpSync(join(root, 'LICENSE'), join(app, 'LICENSE'));
  const bytes = settle(app, Number(process.env['SOURCE_DATE_EPOCH'] ?? 0));
  process.stderr.write(
    `tidemark: ${app} holds ${packages.length} packages in 2 bundles, ${(bytes / 1e6).toFixed(1)} MB; try it:\n` +
      `${Object.entries(bytecodeEnv(join(app, 'bytecode')))
        .map(([name, value]) => `${name}=${value} `)
        .join('')}${node} ${join(app, 'invalidator/main.js')} --help\n`,
  );
}

function runtimeOf(node: string): NodeRuntime {
  const json = execFileSync(node, ['--print', 'JSON.stringify(process.versions)'], { encoding: 'utf8' });
  const versions = JSON.parse(json) as Record<string, string>;
  const [major] = versions['node']?.split('.') ?? [];
  const [tested] = process.versions.node.split('.');
  if (major !== tested)
    throw new Error(`${node} is Node ${major}, but what is built is tested with ${tested}: take that`);
  return { versions, sha256: createHash('sha256').update(readFileSync(node)).digest('hex') };
}

/** Rights and times that do not tell of the machine: everybody may read. Answers the bytes of all files. */
function settle(folder: string, epochS: number): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += settle(path, epochS);
    else {
      bytes += readFileSync(path).length;
      chmodSync(path, 0o644);
      lutimesSync(path, epochS, epochS);
    }
  }
  chmodSync(folder, 0o755);
  lutimesSync(folder, epochS, epochS);
  return bytes;
}

await main();
process.disconnect?.();
