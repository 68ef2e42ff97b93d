import { cp, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CertificateFiles } from './certificates.ts';
import { startChild } from './child.ts';
import { dockerWorks, newContainer, pullImage } from './docker.ts';
import { KitError, type Progress, silent } from './error.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { type Program, startServer } from './managed.ts';
import { freePort } from './ports.ts';
import { redisCommand, type RedisFlavour, usualFlavour } from './redis-install.ts';
import { scratchFolder } from './scratch.ts';
import { watchLines } from './watch.ts';

export interface RedisOptions {
  /** Which server of the family (default: TIDEMARK_TEST_REDIS_FLAVOUR, else the usual one). */
  readonly flavour?: RedisFlavour;
  /** Settings as in redis.conf; they win over the kit's own. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Speaks TLS with this certificate, and nothing else. */
  readonly tls?: CertificateFiles;
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

const images: Readonly<Record<RedisFlavour, string>> = {
  usual: 'redis:8',
  'redis-6.2': 'redis:6.2',
  valkey: 'valkey/valkey:9',
};

const defaults: Readonly<Record<string, string>> = {
  // A logical database for each test file.
  databases: '1024',
  save: '',
  // Every write reaches the system at once, so a kill -9 loses nothing; waiting for the disk would only add stalls.
  appendonly: 'yes',
  appendfsync: 'no',
};

/** Starts a Redis of its own, that keeps its data over restarts, on a free port of the loopback interface. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const { program, dataFolder } = await choose(options);
  const server = await startServer(program, {
    name: 'redis',
    stopSignal: 'SIGTERM',
    graceMs: 5_000,
    startTimeoutMs: 60_000,
    supervise: options.supervise ?? false,
    onEvent: options.onEvent,
  });
  return Object.assign(server, {
    url: `${options.tls === undefined ? 'redis' : 'rediss'}://127.0.0.1:${program.port()}`,
    port: program.port(),
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
        await rm(join(dataFolder, 'appendonlydir'), { recursive: true, force: true });
        await rm(join(dataFolder, 'appendonly.aof'), { force: true });
        await cp(snapshot.folder, dataFolder, { recursive: true });
      }),
  });
}

async function choose(options: RedisOptions): Promise<{ program: Program; dataFolder: string }> {
  const { progress = silent, flavour = usualFlavour() } = options;
  const image = images[flavour];
  const command = await redisCommand(progress, flavour);
  if (command === undefined && !dockerWorks()) {
    throw new KitError(
      flavour === 'valkey'
        ? 'Valkey cannot be started: there is no valkey-server, none to fetch for this machine, and Docker does not answer. Install valkey-server (brew install valkey, apt install valkey-server).'
        : 'Redis cannot be started: there is no redis-server, no Java with Maven to fetch one, and Docker does not answer. Install redis-server (apt install redis-server, brew install redis), or set TIDEMARK_TEST_REDIS_URL.',
    );
  }
  if (command === undefined) await pullImage(image, progress);
  const scratch = scratchFolder('redis');
  const dataFolder = join(scratch.path, 'data');
  await mkdir(dataFolder);
  let port = await freePort();
  const container = newContainer('redis');
  const launch: Program['launch'] = (log) => {
    const watch = watchLines((line) => (/ready to accept connections/i.test(line) ? true : undefined));
    const { take: onLine } = watch;
    const args = (own: Record<string, string>): string[] =>
      Object.entries({ ...defaults, ...listening(port, options.tls), ...own, ...options.settings }).flatMap(
        ([name, value]) => [`--${name}`, value],
      );
    const child =
      command === undefined
        ? container.launch(
            {
              image,
              port,
              mounts: { [dataFolder]: '/data', ...mountOf(options.tls) },
              user: `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`,
              args: ['redis-server', ...args({ 'protected-mode': 'no' })],
            },
            { log, onLine },
          )
        : startChild({
            command,
            args: args({ bind: '127.0.0.1', dir: dataFolder }),
            cwd: scratch.path,
            env: { PATH: process.env['PATH'] },
            orphanSignal: 'SIGKILL',
            log,
            onLine,
          });
    return { child, ready: watch.found.then(() => undefined) };
  };
  const program: Program = {
    port: () => port,
    choosePorts: async () => {
      port = await freePort();
    },
    launch,
    remove: async () => {
      await container.remove();
      await scratch.remove();
    },
  };
  return { program, dataFolder };
}

function listening(port: number, tls: CertificateFiles | undefined): Record<string, string> {
  if (tls === undefined) return { port: `${port}` };
  const { certFile, keyFile } = tls;
  // Clients need no certificate; a password is what lets them in.
  const files = { 'tls-cert-file': certFile, 'tls-key-file': keyFile, 'tls-auth-clients': 'no' };
  return { port: '0', 'tls-port': `${port}`, ...files };
}

/** In a container the files have the same paths. */
function mountOf(tls: CertificateFiles | undefined): Record<string, string> {
  return tls === undefined ? {} : { [dirname(tls.certFile)]: dirname(tls.certFile) };
}
