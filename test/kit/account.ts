import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { KitError } from './error.ts';

/** A Unix account that a server runs as. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export const isRoot = process.getuid?.() === 0;

let found: Account | undefined;

/** Postgres refuses to run as root: the account to run it as then, or nothing where we are an ordinary user already. */
export function unprivilegedAccount(): Account | undefined {
  if (!isRoot) return undefined;
  found ??= ['postgres', 'nobody'].map(lookUp).find((account) => account !== undefined);
  if (found === undefined) {
    throw new KitError(
      'Postgres does not run as root, and there is no account "postgres" or "nobody" to run it as: create one (useradd --system postgres) or run this as an ordinary user.',
    );
  }
  return found;
}

function lookUp(name: string): Account | undefined {
  const ids = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }));
  const [uid, gid] = ids.map((result) => (result.status === 0 ? Number(result.stdout.trim()) : Number.NaN));
  if (uid === undefined || gid === undefined || !(uid > 0) || !(gid > 0)) return undefined;
  return { name, uid, gid };
}

/** Whether an unprivileged account can enter the folder: each folder on the way must let others pass. */
export function othersCanEnter(folder: string): boolean {
  for (let at = folder; ; at = dirname(at)) {
    const stat = statSync(at, { throwIfNoEntry: false });
    if (stat !== undefined && (stat.mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}
