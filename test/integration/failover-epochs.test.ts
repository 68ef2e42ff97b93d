import { expect, it } from 'vitest';
import { withPostgres } from '../kit/names.ts';
import type { App } from './support/app.ts';
import { useFailover } from './support/failover.ts';
import { makeCommitsWait } from './support/waiting-commits.ts';

// What an application sees over the promotion of a standby: when it takes a new epoch, and while commits hang for the standby.

const f = useFailover();

it('[I10] a promotion that lost announced commits begins a new epoch', { timeout: 400_000 }, async () => {
  const a = f.apps[0] as App;
  await f.recovered();
  const [before, old] = [await f.epoch(), await f.versionOf(3)];
  await f.set('synchronized_standby_slots', '');
  f.pair.cutReplication();
  await f.change(3);
  const lost = await f.versionOf(3);
  await f.evicted(3, old);
  expect(await f.cached(a, 3)).toBe(lost);
  await f.pair.promote();
  expect(await f.versionOf(3)).toBe(old);
  expect(await f.said('commits-lost')).toContain('"history":["');
  await f.epochAfter(before);
  await f.neverServed(3, lost);
  // The old value is true again, and is cached as a value of the new history.
  await f.recovered();
  expect(await f.inCache(a, 3)).toBe(old);
});

it(
  '[I3] a commit that hung for its standby was announced before it was visible, and nothing from before it stays',
  { timeout: 400_000 },
  async () => {
    const a = f.apps[0] as App;
    const [before, old] = [await f.epoch(), await f.cached(a, 4)];
    await f.set('synchronized_standby_slots', '');
    f.pair.cutReplication();
    await makeCommitsWait(f.stack.postgres, 'kit_standby');
    const hanging = f.change(4);
    await f.evicted(4, old);
    expect(await f.versionOf(4)).toBe(old);
    const { lease } = await a.get('items', '4');
    expect((await a.put('items', '4', old, { lease })).status).toBe(409);
    f.pair.healReplication();
    await hanging;
    expect(await f.cached(a, 4)).not.toBe(old);
    expect(await f.epoch()).toBe(before);
  },
);

it(
  '[I10] a commit that hung for its standby and was lost with its primary leaves nothing behind',
  { timeout: 400_000 },
  async () => {
    const a = f.apps[0] as App;
    const [before, old] = [await f.epoch(), await f.cached(a, 5)];
    await f.set('synchronized_standby_slots', '');
    f.pair.cutReplication();
    await makeCommitsWait(f.stack.postgres, 'kit_standby');
    const hanging = f.change(5).catch((error: Error) => error);
    await f.evicted(5, old);
    await f.pair.promote();
    expect(await hanging).toBeInstanceOf(Error);
    await f.said('commits-lost');
    await f.epochAfter(before);
    await f.recovered();
    expect(await f.inCache(a, 5)).toBe(old);
  },
);

it(
  '[I10] a promoted server without the slot, as before Postgres 17, begins a new epoch',
  { timeout: 400_000 },
  async () => {
    await f.recovered();
    const [before, old] = [await f.epoch(), await f.versionOf(6)];
    await f.endInvalidator();
    await f.pair.promote();
    await f.stack.sql('select pg_drop_replication_slot($1)', [f.stack.slot]);
    await f.change(6);
    await f.stack.invalidator.release();
    await f.said('slot-missing');
    await f.epochAfter(before);
    await f.neverServed(6, old);
    await f.recovered();
  },
);

it('[I10] a promoted server with a slot of its own making begins a new epoch', { timeout: 400_000 }, async () => {
  await f.recovered();
  const [before, old] = [await f.epoch(), await f.versionOf(7)];
  await f.endInvalidator();
  await f.withholdSlot();
  const standby = new URL(f.stack.postgres);
  standby.port = `${f.pair.standby?.port}`;
  const making = withPostgres(standby.href, (client) =>
    client.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [f.stack.slot]),
  );
  let isMade = false;
  const made = making.then(() => {
    isMade = true;
  });
  // It begins at the next such record of the primary.
  while (!isMade) await Promise.race([made, f.stack.sql('select pg_log_standby_snapshot()')]);
  await made;
  await f.stack.invalidator.release();
  await f.change(7);
  await f.evicted(7, old);
  await f.pair.caughtUp();
  await f.pair.promote();
  await f.said('slot-not-synced');
  await f.epochAfter(before);
  await f.neverServed(7, old);
  await f.recovered();
});

it('[I10] a promoted server that lost its history file begins a new epoch', { timeout: 400_000 }, async () => {
  const [before, old] = [await f.epoch(), await f.cached(f.apps[0] as App, 8)];
  await f.endInvalidator();
  await f.change(8);
  await f.pair.caughtUp();
  await f.pair.promote();
  const [row] = await f.stack.sql<{ file: string }>(
    "select left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) || '.history' as file",
  );
  const move = (from: string, to: string) => f.stack.sql(`copy (select) to program 'mv pg_wal/${from} pg_wal/${to}'`);
  await move(`${row?.file}`, 'away');
  await f.stack.invalidator.release();
  expect(await f.said('unknown-history')).toContain(row?.file);
  await f.epochAfter(before);
  await move('away', `${row?.file}`); // the next standby needs it
  await f.neverServed(8, old);
  await f.recovered();
});
