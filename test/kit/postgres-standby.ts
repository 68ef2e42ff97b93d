import { chownSync } from 'node:fs';
import { appendFile, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { runToEnd } from './child.ts';
import { withPostgres } from './names.ts';
import type { PostgresInstallation } from './postgres-install.ts';
import type { LocalPostgres } from './postgres.ts';

/** The physical slot of a standby, and its application_name (for `synchronous_standby_names`). */
export const STANDBY = 'kit_standby';

/** A base backup: pg_basebackup is not among npm's binaries (postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP). */
export async function copyAsStandby(options: {
  primary: LocalPostgres;
  data: string;
  installation: PostgresInstallation;
  port: number;
}): Promise<void> {
  const { primary, data, port } = options;
  const { account } = options.installation;
  const write = async (name: string, text: string): Promise<void> => {
    await writeFile(join(data, name), text, { mode: 0o600 });
    if (account !== undefined) chownSync(join(data, name), account.uid, account.gid);
  };
  await withPostgres(primary.url, async (client) => {
    await client.query("select pg_backup_start('kit', true)");
    // Files may vanish under the copy; WAL replay makes up for whatever is torn.
    await runToEnd('cp', ['-R', '-p', primary.data, data], { owner: account }).catch(() => undefined);
    await stat(join(data, 'global/pg_control'));
    const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(false)');
    await rm(join(data, 'postmaster.pid'), { force: true });
    for (const folder of ['pg_replslot', 'pg_wal']) {
      await rm(join(data, folder), { recursive: true });
      for (const path of folder === 'pg_wal' ? [folder, 'pg_wal/archive_status', 'pg_wal/summaries'] : [folder]) {
        await mkdir(join(data, path), { mode: 0o700 });
        if (account !== undefined) chownSync(join(data, path), account.uid, account.gid);
      }
    }
    await write('backup_label', rows[0]?.labelfile ?? '');
  });
  await write('standby.signal', '');
  const conninfo = `host=127.0.0.1 port=${port} user=postgres password=${primary.password} dbname=postgres application_name=${STANDBY}`;
  const settings: Record<string, string> = {
    primary_conninfo: conninfo,
    primary_slot_name: STANDBY,
    hot_standby_feedback: 'on',
    ...((await versionOf(primary.url)) >= 170_000 && { sync_replication_slots: 'on', synchronized_standby_slots: '' }),
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`);
  await appendFile(join(data, 'postgresql.auto.conf'), lines.join(''));
}

export async function versionOf(url: string): Promise<number> {
  const [row] = await ask<{ v: number }>(url, "select current_setting('server_version_num')::int as v");
  return row?.v ?? 0;
}

export function ask<Row extends pg.QueryResultRow>(url: string, sql: string): Promise<Row[]> {
  return withPostgres(url, async (client) => (await client.query<Row>(sql)).rows);
}
