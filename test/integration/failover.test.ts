import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { withPostgres } from '../kit/names.ts';
import { eventually } from './support/eventually.ts';
import { NEVER_READ, ROWS, useFailover } from './support/failover.ts';
import { anotherInvalidator } from './support/invalidator.ts';

// What an application sees over the promotion of a standby: when its slot came over from the primary before.

const f = useFailover();

it(
  '[I2] [I10] a promotion under load begins a new epoch from the same slot, and no invalidation is lost',
  { timeout: 400_000 },
  async () => {
    const before = await f.epoch();
    let running = true;
    let writes = 0;
    const loop = async (step: (id: number) => Promise<unknown>): Promise<void> => {
      for (let id = 1; running; id = (id % ROWS) + 1) await step(id).catch(() => undefined); // no primary for a moment
    };
    const load = Promise.all([
      loop(async (id) => {
        await f.change(id);
        writes += 1;
      }),
      ...f.apps.map((app) => loop((id) => f.read(app, id))),
    ]);
    try {
      await eventually(() => expect(writes).toBeGreaterThan(50));
      await f.pair.promote();
      const promoted = writes;
      await eventually(() => expect(writes).toBeGreaterThan(promoted + 50), { withinMs: 60_000 });
    } finally {
      running = false;
      await load;
    }
    await f.said('taking its slot over');
    await f.epochAfter(before);
    await f.recovered();
  },
);

it('[I2] a change that was replicated but not announced evicts after the promotion', { timeout: 400_000 }, async () => {
  await f.recovered();
  const [before, old] = [await f.epoch(), await f.versionOf(1)];
  f.stack.invalidator.pause();
  await f.change(1);
  await f.pair.caughtUp();
  await f.pair.promote();
  f.stack.invalidator.resume();
  await f.evicted(1, old);
  await f.epochAfter(before);
  await f.recovered();
});

it(
  '[I10] what was cached of commits that were not announced is not served after they are lost',
  { timeout: 400_000 },
  async () => {
    const before = await f.epoch();
    f.pair.cutReplication();
    await f.change(NEVER_READ);
    // The caches have not heard of the change, since Postgres tells its standbys first; but whoever misses reads it.
    const lost = await f.versionOf(NEVER_READ);
    for (const app of f.apps) {
      await f.read(app, NEVER_READ);
      expect(await f.inCache(app, NEVER_READ)).toBe(lost);
    }
    await f.said('Postgres sends no changes until the standbys of synchronized_standby_slots have them');
    await eventually(async () => expect(await f.metric('stream_held_back')).toBe(1));
    await f.pair.promote();
    expect(await f.versionOf(NEVER_READ)).not.toBe(lost);
    await f.epochAfter(before);
    await f.recovered();
    await f.neverServed(NEVER_READ, lost);
    for (const app of f.apps) await f.cached(app, NEVER_READ);
  },
);

it('a standby is waited for, and followed from its promotion on', { timeout: 400_000 }, async () => {
  await f.recovered();
  const [before, old] = [await f.epoch(), await f.versionOf(9)];
  await f.endInvalidator();
  const address = new URL(f.stack.postgres);
  address.port = `${f.pair.standby?.port}`;
  const waiting = await anotherInvalidator(f.stack, { name: 'waiting', env: { TIDEMARK_POSTGRES_URL: address.href } });
  const ready = waiting.start();
  await eventually(() => expect(waiting.logs().join('\n')).toContain('the server is a standby: waiting'), {
    withinMs: 60_000,
  });
  await eventually(async () => expect(await (await fetch(`${waiting.url}/readyz`)).text()).toContain('standby'));
  expect((await fetch(`${waiting.url}/livez`)).status).toBe(200);
  await f.change(9);
  await f.pair.promote({ oldPrimary: 'stop' });
  await ready;
  await f.evicted(9, old);
  await f.epochAfter(before);
  await f.recovered();
  await waiting.stop();
});

it('a transaction that is open on the new primary does not hold the stream up', { timeout: 400_000 }, async () => {
  const [before, old] = [await f.epoch(), await f.versionOf(10)];
  f.stack.invalidator.pause();
  await f.pair.promote();
  // A new slot could be made only after its end.
  await withPostgres(f.stack.postgres, async (client) => {
    await client.query('begin');
    await client.query('select pg_current_xact_id()');
    f.stack.invalidator.resume();
    await f.epochAfter(before);
    await f.change(10);
    await f.evicted(10, old);
    await f.recovered();
    await client.query('rollback');
  });
});

it('a slot that was made without failover is offered to standbys', { timeout: 400_000 }, async () => {
  const before = await f.epoch();
  await f.endInvalidator();
  await f.withholdSlot();
  await f.stack.invalidator.release();
  await f.said('standbys may take over the slot now');
  await eventually(async () => expect(await f.metric('slot_failover')).toBe(1));
  expect(await f.metric('slot_wal_status{status="reserved"}')).toBe(1);
  expect(await f.metric('slot_safe_wal_bytes')).toBe(Number.POSITIVE_INFINITY);
  expect(await f.metric('slot_lag_bytes')).toBeGreaterThanOrEqual(0);
  await f.pair.slotSynced(f.stack.slot);
  await f.pair.promote();
  await f.said('taking its slot over');
  await f.epochAfter(before);
  await f.recovered();
});

it(
  '[I2] what one server says is not believed of another to which the address led a moment later',
  { timeout: 400_000 },
  async () => {
    await f.recovered();
    const [before, old] = [await f.epoch(), await f.versionOf(12)];
    await f.endInvalidator();
    const former = f.pair.primary;
    await f.pair.promote({ oldPrimary: 'leave' });
    // The session's first connection leads to the old primary, all others to the new one.
    const targets = [former.port];
    const address = createServer((near) => {
      const far = connect(targets.shift() ?? f.pair.primary.port, '127.0.0.1');
      for (const socket of [near, far]) socket.on('error', () => near.destroy());
      near.pipe(far).pipe(near);
    });
    await once(address.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void address.close());
    const url = new URL(f.stack.postgres);
    url.port = `${(address.address() as AddressInfo).port}`;
    const misled = await anotherInvalidator(f.stack, { name: 'misled', env: { TIDEMARK_POSTGRES_URL: url.href } });
    await misled.start();
    await eventually(() => expect(misled.logs().join('\n')).toContain('the address led to different servers'));
    await f.change(12);
    await f.evicted(12, old);
    await f.epochAfter(before);
    await f.recovered();
    await misled.stop();
    await former.kill();
  },
);
