#!/usr/bin/env node
// The way in: runs on the Node that a machine already has (20 or newer), with nothing installed. It installs the pinned
// packages (Node 26 among them) when that is needed and then hands over to scripts/<command>.ts on that Node.
// What it says goes to stderr, so that the command's stdout stays the command's own.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { constants as osConstants, homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const minimumNodeMajor = 20;

const commands = {
  demo: 'a small shop behind two sidecars, live in this terminal',
  stack: 'Postgres, Kafka, Redis, the invalidator and sidecars in the foreground',
  test: 'every test, on real servers; file names or parts of them narrow the choice',
  check: 'types, lint, boundaries, format, dead code, generated code',
  codegen: 'write the generated code and schemas again',
  soak: 'histories of the simulation for as long as asked',
  bench: 'measurements',
  build: 'what the image holds: both services bundled, with notices and a bill of materials',
  model: 'every state of a model of the protocol, by the model checker TLC',
  fuzz: 'bad input, generated from a seed, on everything that listens',
  history: 'breaks everything in an order that a seed decides, and checks every value that is served',
};

class Missing extends Error {}

function help() {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const lines = Object.entries(commands).map(([name, text]) => `  ${name.padEnd(width)}  ${text}`);
  return [
    'Usage: npm run COMMAND [-- ARGUMENTS]      (or: node scripts/bootstrap.mjs COMMAND [ARGUMENTS])',
    '',
    ...lines,
    '',
    'Arguments go to the command; most commands answer --help.',
  ].join('\n');
}

function say(text) {
  process.stderr.write(`tidemark: ${text}\n`);
}

/** The npm that belongs to this Node: what `npm run` used, else the one beside node, else the one in PATH. */
function findNpm() {
  const fromRun = process.env.npm_execpath;
  if (fromRun !== undefined && fromRun.endsWith('npm-cli.js') && existsSync(fromRun))
    return [process.execPath, fromRun];
  try {
    const beside = createRequire(join(dirname(process.execPath), '..', 'lib', 'x.js')).resolve('npm/bin/npm-cli.js');
    return [process.execPath, beside];
  } catch {
    if (spawnSync('npm', ['--version'], { stdio: 'ignore' }).status === 0) return ['npm'];
  }
  throw new Missing(
    'npm is missing: install it (it comes with Node.js from https://nodejs.org) and run the command again.',
  );
}

/** An account without a writable home (nobody, a service user) gets one below the temp folder, for npm's and pnpm's caches. */
function environment() {
  const env = { ...process.env };
  try {
    accessSync(homedir(), constants.W_OK);
  } catch {
    env.HOME = join(tmpdir(), `tidemark-home-${process.getuid?.() ?? 'user'}`);
    mkdirSync(env.HOME, { recursive: true, mode: 0o700 });
    env.npm_config_cache = join(env.HOME, '.npm'); // "npm run" has passed on the one in the other home
  }
  return env;
}

const nodeBinary = join(root, 'node_modules', '.bin', 'node');
const stampFile = join(root, 'node_modules', '.tidemark-installed');
const lockFile = join(root, '.tidemark-install.lock');

/** What the installed packages depend on: the lockfile, the manifests and the platform. */
function wantedStamp() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}\n`);
  const workspace = readFileSync(join(root, 'pnpm-workspace.yaml'), 'utf8');
  const folders = [...workspace.matchAll(/^ {2}- (\S+)$/gm)].map((match) => match[1]);
  const files = [
    'pnpm-lock.yaml',
    'pnpm-workspace.yaml',
    ...['.', ...folders].map((folder) => join(folder, 'package.json')),
  ];
  for (const file of files) hash.update(readFileSync(join(root, file)));
  return hash.digest('hex');
}

function isInstalled(stamp) {
  return existsSync(nodeBinary) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp;
}

/** Two commands that start together in a fresh clone must not install into the same folder at once. */
async function withInstallLock(work) {
  for (let told = false; ;) {
    try {
      writeFileSync(lockFile, `${process.pid}`, { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code === 'EACCES' || error.code === 'EROFS') {
        throw new Missing(
          `packages must be installed, but ${root} is not writable for this user: use a checkout of your own.`,
        );
      }
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = existsSync(lockFile) ? Number(readFileSync(lockFile, 'utf8')) : 0;
    if (!isAlive(holder)) rmSync(lockFile, { force: true });
    else if (!told) {
      say(`waiting for process ${holder}, which installs packages here`);
      told = true;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  try {
    return await work();
  } finally {
    rmSync(lockFile, { force: true });
  }
}

function isAlive(pid) {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

async function install(env) {
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const startedAt = Date.now();
  say(`installing packages with ${packageManager} (once for each lockfile)`);
  const [command, ...first] = findNpm();
  const pnpm = ['exec', '--yes', '--loglevel=error', '--', packageManager];
  // pm-on-fail=ignore: npm has already fetched exactly the pinned pnpm, so it need not look itself up in the registry.
  const options = [
    'install',
    '--frozen-lockfile',
    '--prefer-offline',
    '--pm-on-fail=ignore',
    '--reporter=append-only',
    '--config.confirmModulesPurge=false',
  ];
  const child = spawn(command, [...first, ...pnpm, ...options], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let shownAt = 0;
  const take = (chunk) => {
    output += chunk;
    const progress = /^Progress: .*$/gm;
    const last = [...chunk.toString().matchAll(progress)].at(-1);
    if (last !== undefined && Date.now() - shownAt > 1000) {
      shownAt = Date.now();
      say(`  ${last[0]}`);
    }
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code !== 0 || !existsSync(nodeBinary)) throw new Missing(explain(output, packageManager));
  say(`packages are installed (${((Date.now() - startedAt) / 1000).toFixed(1)} s)`);
}

/** One sentence for what usually goes wrong, then what the installer said. */
function explain(output, packageManager) {
  const tail = output.trim().split('\n').slice(-15).join('\n');
  const causes = [
    [
      /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|fetch failed|error sending request/i,
      "the npm registry cannot be reached: check the network, or set npm's registry or proxy (npm config set registry URL).",
    ],
    [
      /CERT|certificate/i,
      "the npm registry's certificate is not trusted: set npm's cafile (npm config set cafile FILE).",
    ],
    [/ENOSPC/i, 'the disk is full: the packages need about 700 MB.'],
    [
      /EACCES|EPERM/i,
      `a folder is not writable for this user: check ${root}, ${homedir()}/.npm and ${homedir()}/.local/share/pnpm.`,
    ],
    [
      /OUTDATED_LOCKFILE/i,
      `pnpm-lock.yaml does not match the package.json files: run "npx ${packageManager} install" and commit the lockfile.`,
    ],
  ];
  const cause = causes.find(([pattern]) => pattern.test(output))?.[1] ?? 'the packages could not be installed.';
  return tail === '' ? cause : `${cause}\nThe installer said:\n${tail}`;
}

function run(script, args, env) {
  // The channel tells the command when this process is gone, also by kill -9: the command then ends what it started.
  const child = spawn(nodeBinary, [script, ...args], {
    cwd: process.cwd(),
    env,
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(signal, () => child.kill(signal));
  // "npm run" passes signals on (the scripts in package.json say exec, so that no shell stands between), but kill -9 it cannot.
  if (process.env.npm_lifecycle_event !== undefined) {
    const parent = process.ppid;
    setInterval(() => process.ppid === parent || child.kill('SIGTERM'), 500).unref();
  }
  child.once('error', (error) =>
    fail(
      new Missing(`${nodeBinary} does not start (${error.message}): delete node_modules and run the command again.`),
    ),
  );
  child.once('exit', (code, signal) => {
    process.exit(code ?? 128 + (signal === null ? 0 : osConstants.signals[signal]));
  });
}

function fail(error) {
  if (!(error instanceof Missing)) throw error;
  process.stderr.write(`tidemark: ${error.message}\n`);
  process.exit(1);
}

async function main() {
  const [command, ...args] = process.argv.slice(2);
  if (command === undefined || command === '--help' || command === '-h' || command === 'help') {
    process.stdout.write(`${help()}\n`);
    process.exit(command === undefined ? 2 : 0);
  }
  if (!Object.hasOwn(commands, command)) {
    process.stderr.write(`tidemark: there is no command "${command}".\n\n${help()}\n`);
    process.exit(2);
  }
  if (Number(process.versions.node.split('.')[0]) < minimumNodeMajor) {
    throw new Missing(
      `Node.js ${minimumNodeMajor} or newer is needed and this is ${process.version}: get it from https://nodejs.org or with your package manager.`,
    );
  }
  if (process.platform === 'win32')
    throw new Missing('Windows is not supported: run this in WSL or on Linux or macOS.');
  const script = join(root, 'scripts', `${command}.ts`);
  if (!existsSync(script)) {
    const there = readdirSync(join(root, 'scripts'))
      .filter((file) => file.endsWith('.ts'))
      .map((file) => file.slice(0, -3));
    throw new Missing(`scripts/${command}.ts is not in this checkout (there are: ${there.join(', ') || 'none'}).`);
  }
  const env = environment();
  const stamp = wantedStamp();
  if (!isInstalled(stamp)) {
    await withInstallLock(async () => {
      if (isInstalled(stamp)) return;
      await install(env);
      writeFileSync(stampFile, stamp);
    });
  }
  run(script, args, env);
}

main().catch(fail);
