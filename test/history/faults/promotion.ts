import { withPostgres } from '../../kit/names.ts';
import type { Cluster } from '../cluster.ts';
import { until } from '../until.ts';
import type { FaultKind } from './fault.ts';
import { dropSlot } from './postgres.ts';

// A standby takes the place of the primary, under the same address. In the end there is a standby again.

const breaks = (): readonly string[] => ['postgres'];
/** What a promotion that loses something loses at least: a few transactions. */
const lostBytes = 2_000;

/** The slot came over, and nothing was lost: the stream goes on where it was. */
const withSlot: FaultKind = {
  name: 'promotion',
  says: 'a standby with a synced slot is promoted',
  targets: ['postgres'],
  breaks,
  needs: () => ['invalidator', 'invalidator-postgres', 'invalidator-kafka', 'kafka'],
  lastsMs: [0, 0],
  start: async ({ postgres, stack }, _, { promotion }) => {
    await postgres.slotSynced(stack.slot);
    await promotion(() => postgres.promote({ oldPrimary: 'stop' }));
    return () => postgres.addStandby();
  },
};

/** The slot did not come over: nobody can tell what was missed. */
const withoutSlot: FaultKind = {
  name: 'promotion-without-slot',
  says: 'a standby without the slot is promoted',
  targets: ['postgres'],
  breaks: () => ['postgres', 'invalidator-postgres'],
  lastsMs: [0, 1_000],
  start: async (cluster, _, { promotion }) => {
    const { postgres } = cluster;
    const way = cluster.way('invalidator-postgres');
    await way.trouble({ kind: 'refused' });
    await promotion(async () => {
      await postgres.promote();
      await dropSlot(cluster);
    });
    return async () => {
      await way.heal();
      await postgres.addStandby();
    };
  },
};

/**
 * The standby lacks the newest commits, although they were acknowledged. `unannounced`: the primary held them back from the
 * invalidator until the standby would have them (`synchronized_standby_slots`); `announced`: it did not, so that sidecars
 * know of commits that never were.
 */
const withLoss: FaultKind = {
  name: 'promotion-with-loss',
  says: 'a standby is promoted that lacks commits, {target}',
  targets: ['announced', 'unannounced'],
  breaks,
  lastsMs: [0, 0],
  start: async ({ postgres }, target, { promotion }) => {
    if (target === 'announced') {
      await withPostgres(postgres.url, async (client) => {
        await client.query(`alter system set synchronized_standby_slots = ''`);
        await client.query('select pg_reload_conf()');
      });
    }
    postgres.cutReplication();
    await written(postgres, lostBytes);
    await promotion(() => postgres.promote());
    return () => postgres.addStandby();
  },
};

async function written({ url }: Cluster['postgres'], bytes: number): Promise<void> {
  await withPostgres(url, async (client) => {
    const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_lsn()::text as lsn');
    await until('something is written that the standby lacks', async () => {
      const since = await client.query<{ bytes: string }>('select pg_wal_lsn_diff(pg_current_wal_lsn(), $1) as bytes', [
        rows[0]?.lsn,
      ]);
      return Number(since.rows[0]?.bytes) >= bytes;
    });
  });
}

export const promotionFaults: readonly FaultKind[] = [withSlot, withoutSlot, withLoss];
