import { afterEach, expect, test } from 'vitest';
import { type PostgresPair, startPostgresPair } from './index.ts';
import { withPostgres } from './names.ts';

let pair: PostgresPair | undefined;

/** A slot can be synced only once it has moved, for which somebody must use it. */
async function syncedWhileUsed({ url, slotSynced }: { url: string; slotSynced: Promise<void> }): Promise<void> {
  let isSynced = false;
  const synced = slotSynced.then(() => {
    isSynced = true;
  });
  while (!isSynced)
    await Promise.race([synced, sql(url, "select pg_replication_slot_advance('s', pg_current_wal_lsn())")]);
  await synced;
}

afterEach(() => pair?.stop());

function sql(url: string, text: string): Promise<Record<string, unknown>[]> {
  return withPostgres(url, async (client) => (await client.query<Record<string, unknown>>(text)).rows);
}

test('a pair is promoted again and again under one address, with the slot, and loses what replication had not', async () => {
  pair = await startPostgresPair();
  const { url } = pair;
  await sql(url, 'create table kept (id int); insert into kept values (1)');
  await sql(url, "select pg_create_logical_replication_slot('s', 'pgoutput', failover => true)");
  await syncedWhileUsed({ url, slotSynced: pair.slotSynced('s') });
  await pair.caughtUp();
  pair.cutReplication();
  await sql(url, 'insert into kept values (2)');
  await pair.promote();
  expect(await sql(url, 'select id from kept')).toEqual([{ id: 1 }]);
  expect(await sql(url, 'select slot_name from pg_replication_slots')).toEqual([{ slot_name: 's' }]);

  await pair.addStandby();
  await sql(url, 'insert into kept values (3)');
  await syncedWhileUsed({ url, slotSynced: pair.slotSynced('s') });
  await pair.promote({ oldPrimary: 'stop' });
  expect(await sql(url, 'select id from kept')).toEqual([{ id: 1 }, { id: 3 }]);
  expect(await sql(url, 'select left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)::int as timeline')).toEqual([
    { timeline: 3 },
  ]);
}, 480_000);
