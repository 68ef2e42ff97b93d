import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { chmod, cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cached } from './cache.ts';
import { startChild } from './child.ts';
import { KitError, type Progress, silent } from './error.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { ManagedProcess, startOrRemove } from './managed.ts';
import { type Artifact, hasMaven, javaVersion, mavenFiles } from './maven.ts';
import { freePort } from './ports.ts';
import { scratchFolder } from './scratch.ts';
import { watchLines } from './watch.ts';

export interface RedisOptions {
  /** Settings as in redis.conf; they win over the kit's own. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Starts it again when it dies (default false). */
  readonly supervise?: boolean;
  readonly progress?: Progress;
  readonly onEvent?: (event: ProcessEvent) => void;
}

export interface RedisServer extends ProcessHandle {
  /** URL of database 0. */
  readonly url: string;
  readonly port: number;
  /** Copies what it holds now; `restore` takes it back there. */
  snapshot(): Promise<RedisSnapshot>;
  /** Ends it with SIGKILL, puts the older data in place and starts it again: Redis has gone back in time. */
  restore(snapshot: RedisSnapshot): Promise<void>;
}

export interface RedisSnapshot {
  readonly folder: string;
  remove(): Promise<void>;
}

const embeddedRedis: Artifact = 'com.github.codemonstur:embedded-redis:1.4.3';

function runs(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** redis-server from PATH, else the binary (6.2) inside a Maven artifact, which needs no rights and changes no system. */
async function redisCommand(progress: Progress): Promise<string> {
  for (const command of ['redis-server', 'valkey-server']) if (runs(command)) return command;
  const platform = process.platform === 'darwin' ? 'darwin' : 'linux';
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const pattern = `redis-server-6*-${platform}-${architecture}`;
  const name = `redis-6.2-${platform}-${architecture}`;
  const folder = await cached(name, async (draft) => {
    if (javaVersion() === undefined || !hasMaven()) {
      throw new KitError(
        'Redis is missing: install redis-server (apt install redis-server, brew install redis), or Java 17 and Maven to have it fetched, or Docker, or set TIDEMARK_TEST_REDIS_URL.',
      );
    }
    progress('fetching Redis with Maven');
    await mavenFiles(draft, embeddedRedis, pattern);
    const file = readdirSync(join(draft, 'files')).find((entry) => entry.startsWith('redis-server'));
    if (file === undefined)
      throw new KitError(
        `Maven's ${embeddedRedis} has no Redis for ${platform} ${architecture}: install redis-server, or set TIDEMARK_TEST_REDIS_URL.`,
      );
    await cp(join(draft, 'files', file), join(draft, 'redis-server'));
    await chmod(join(draft, 'redis-server'), 0o755);
    await rm(join(draft, 'files'), { recursive: true });
  });
  const command = join(folder, 'redis-server');
  if (!runs(command))
    throw new KitError(
      `${command} does not run on this machine: install redis-server, or set TIDEMARK_TEST_REDIS_URL.`,
    );
  return command;
}

const defaults: Readonly<Record<string, string>> = {
  bind: '127.0.0.1',
  // A logical database for each test file.
  databases: '1024',
  save: '',
  // Every write reaches the system at once, so a kill -9 loses nothing; waiting for the disk would only add stalls.
  appendonly: 'yes',
  appendfsync: 'no',
};

/** Starts a Redis of its own, that keeps its data over restarts, on a free port of the loopback interface. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const command = await redisCommand(options.progress ?? silent);
  const scratch = scratchFolder('redis');
  const dataFolder = join(scratch.path, 'data');
  await mkdir(dataFolder);
  let port = await freePort();
  const server = new ManagedProcess({
    name: 'redis',
    stopSignal: 'SIGTERM',
    graceMs: 5_000,
    startTimeoutMs: 20_000,
    supervise: options.supervise ?? false,
    onEvent: options.onEvent,
    afterStop: () => scratch.remove(),
    beforeRetry: async () => {
      port = await freePort();
    },
    launch: (log) => {
      const settings = { ...defaults, port: `${port}`, dir: dataFolder, ...options.settings };
      const watch = watchLines((line) => (/ready to accept connections/i.test(line) ? true : undefined));
      const child = startChild({
        command,
        args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
        cwd: scratch.path,
        env: { PATH: process.env['PATH'] },
        orphanSignal: 'SIGKILL',
        log,
        onLine: watch.take,
      });
      return { child, ready: watch.found.then(() => undefined) };
    },
  });
  await startOrRemove(server);
  return Object.assign(server, {
    url: `redis://127.0.0.1:${port}`,
    port,
    snapshot: async () => {
      const copy = scratchFolder('redis-snapshot');
      server.pause();
      try {
        await cp(dataFolder, copy.path, { recursive: true });
      } finally {
        server.resume();
      }
      return { folder: copy.path, remove: () => copy.remove() };
    },
    restore: (snapshot: RedisSnapshot) =>
      server.whileDown(async () => {
        await rm(dataFolder, { recursive: true });
        await cp(snapshot.folder, dataFolder, { recursive: true });
      }),
  });
}
