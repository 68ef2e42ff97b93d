import { withPostgres } from '../../kit/names.ts';

/**
 * Makes commits wait for a standby that must not be connected; settles once they do. To look at the setting is not enough:
 * backends go by a flag in shared memory that the checkpointer sets when it gets round to the reload.
 */
export async function makeCommitsWait(url: string, standby: string): Promise<void> {
  await withPostgres(url, async (client) => {
    await client.query(`alter system set synchronous_standby_names = '${standby}'`);
    await client.query('select pg_reload_conf()');
    while (!(await aCommitWaits(url))) continue;
  });
}

/** Whether a commit waits; if it does, it is cancelled, which ends its wait but not its effect. */
function aCommitWaits(url: string): Promise<boolean> {
  return withPostgres(url, (watcher) =>
    withPostgres(url, async (prober) => {
      const { rows } = await prober.query<{ pid: number }>('select pg_backend_pid() as pid');
      let isDone = false;
      const probe = prober.query(`select pg_logical_emit_message(true, 'probe', '')`).then(() => (isDone = true));
      let waits = false;
      while (!isDone) {
        const { rowCount } = await watcher.query(
          `select pg_cancel_backend(pid) from pg_stat_activity where pid = $1 and wait_event = 'SyncRep'`,
          [rows[0]?.pid],
        );
        waits ||= (rowCount ?? 0) > 0;
      }
      await probe;
      return waits;
    }),
  );
}
