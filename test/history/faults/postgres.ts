import { withPostgres } from '../../kit/names.ts';
import type { Cluster } from '../cluster.ts';
import { until } from '../until.ts';
import type { FaultKind } from './fault.ts';

const breaks = (): readonly string[] => ['postgres'];

/** "Immediate" shutdown: no checkpoint, so the next start recovers from the WAL. */
const crash: FaultKind = {
  name: 'postgres-crash',
  says: 'Postgres is shut down immediately and recovers',
  targets: ['postgres'],
  breaks,
  lastsMs: [0, 3_000],
  start: async ({ postgres }, _, { ending }) => {
    postgres.hold();
    ending('postgres');
    await postgres.kill('SIGQUIT');
    return () => postgres.release();
  },
};

/** Commits wait for a standby that is not there: they are in the stream, but no reader sees them and no writer gets an answer. */
const hangingCommits: FaultKind = {
  name: 'hanging-commits',
  says: 'commits wait for a synchronous standby that is not there',
  targets: ['postgres'],
  breaks,
  lastsMs: [1_000, 6_000],
  start: async (cluster) => {
    await synchronousStandby(cluster, "set synchronous_standby_names = 'nobody'");
    return () => synchronousStandby(cluster, 'reset synchronous_standby_names');
  },
};

async function synchronousStandby({ postgres }: Cluster, change: string): Promise<void> {
  await withPostgres(postgres.url, async (client) => {
    await client.query(`alter system ${change}`);
    await client.query('select pg_reload_conf()');
  });
}

/** Somebody drops the replication slot under the invalidator: continuity is gone, and a new epoch must begin. */
const slotDropped: FaultKind = {
  name: 'slot-dropped',
  says: 'the replication slot is dropped',
  targets: ['postgres'],
  breaks,
  lastsMs: [0, 0],
  start: async (cluster) => {
    await dropSlot(cluster);
    return async () => undefined;
  },
};

/** Drops the slot, whoever uses it. */
export async function dropSlot({ postgres, stack }: Cluster): Promise<void> {
  await withPostgres(postgres.url, async (client) => {
    await until('the slot can be dropped', async () => {
      const { rows } = await client.query<{ pid: number | null }>(
        'select active_pid as pid from pg_replication_slots where slot_name = $1',
        [stack.slot],
      );
      const [slot] = rows;
      if (slot === undefined) return true;
      if (slot.pid !== null) await client.query('select pg_terminate_backend($1)', [slot.pid]);
      return client.query('select pg_drop_replication_slot($1)', [stack.slot]).then(
        () => true,
        () => false, // it is still, or again, in use
      );
    });
  });
}

export const postgresFaults: readonly FaultKind[] = [crash, hangingCommits, slotDropped];
