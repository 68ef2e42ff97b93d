import { setTimeout as pause } from 'node:timers/promises';
import { parseLsn } from '@tidemark/proto';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { Dice } from '../../sidecar/src/testing/random.ts';
import { startStack, type Stack } from '../kit/index.ts';
import { appsOf } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { judgePendingWriters, loggedItems, PendingWriter, type Seen, storedNumber } from './support/pending-writers.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';
import { makeCommitsWait } from './support/waiting-commits.ts';
import { metric, write } from './support/write.ts';

// Writes to hot keys over two sidecars while everything is killed, one after the other. Servers of its own.

const KEYS = 12;
const KILLS = 18;
const BETWEEN_KILLS_MS = 1_500;

let stack: Stack;

beforeAll(async () => {
  stack = await startStack({
    sidecars: 2,
    servers: { postgres: { fsync: false } },
    ...loggedItems,
  });
  await cacheable(stack);
});

afterAll(() => stack?.stop());

beforeEach(() => showLogsOnFailure(stack));

it('[I19] answers a write until every reader of the database sees its flush, not only until it was streamed', async () => {
  const [{ url, admin } = { url: '', admin: '' }] = stack.sidecars;
  const [app] = appsOf(stack);
  const rowOf = async () => (await stack.sql<{ n: number }>("select n from items where id = 'hanging'"))[0]?.n;
  expect((await write(url, ['items', 'hanging'], '1')).status).toBe(202);
  await eventually(async () => expect(await rowOf()).toBe(1));
  await makeCommitsWait(stack.postgres, 'nobody');
  try {
    expect((await write(url, ['items', 'hanging'], '2')).status).toBe(202);
    const { lsn } = await eventually(async () => {
      const [waiting] = await stack.sql<{ lsn: string }>(
        `select pg_current_wal_flush_lsn()::text as lsn from pg_stat_activity
            where application_name like 'tidemark flusher%' and wait_event = 'SyncRep'`,
      );
      return waiting ?? Promise.reject(new Error('no commit of the flusher waits'));
    });
    // The commit is in the stream, and no snapshot sees it.
    await eventually(async () => {
      expect(await metric(admin, 'tidemark_applied_lsn')).toBeGreaterThanOrEqual(parseLsn(lsn));
      expect(await metric(admin, 'tidemark_visible_lsn')).toBeLessThan(await metric(admin, 'tidemark_applied_lsn'));
    });
    for (let i = 0; i < 20; i++) {
      expect(await rowOf()).toBe(1);
      expect(await app?.get('items', 'hanging')).toMatchObject({ status: 200, body: '2' });
    }
  } finally {
    await stack.sql('alter system reset synchronous_standby_names');
    await stack.sql('select pg_reload_conf()');
  }
  await eventually(async () => expect((await app?.get('items', 'hanging'))?.cacheStatus).not.toContain('pending'));
  expect(await rowOf()).toBe(2);
});

it('[I19] loses no write, repeats none and reorders none, whatever is killed', { timeout: 600_000 }, async () => {
  const dice = new Dice(19);
  const writers = Array.from({ length: KEYS }, (_, i) => {
    const key = `hot-${i}`;
    return new PendingWriter({ stack, namespace: 'items', key, stored: () => storedNumber(stack, key) });
  });
  const victims = [...stack.sidecars, stack.flusher, stack.invalidator, stack.servers.kafka, stack.servers.postgres];
  for (let i = 0; i < KILLS; i++) {
    await pause(BETWEEN_KILLS_MS * (0.5 + dice.fraction()));
    const victim = victims[i % victims.length];
    // On a slow machine it may not have come back from the last time.
    await victim?.ready();
    await victim?.kill();
    // Sometimes the next one is killed while this one is still away.
    if (dice.chance(0.7)) await victim?.ready();
  }
  await Promise.all(victims.map((victim) => victim.ready()));
  const before = writers.reduce((sum, { acknowledgements }) => sum + acknowledgements, 0);
  await eventually(
    () =>
      expect(writers.reduce((sum, { acknowledgements }) => sum + acknowledgements, 0)).toBeGreaterThan(before + 500),
    { withinMs: 120_000, everyMs: 100 },
  );
  await judgePendingWriters(stack, writers);
  expect(await stack.sql('select key, error from tidemark.parked_writes')).toEqual([]);

  const sum = (of: (writer: PendingWriter) => number): number =>
    writers.reduce((total, writer) => total + of(writer), 0);
  const seen = (kind: Seen): number => sum((writer) => writer.seen[kind]);
  const [{ count } = { count: '0' }] = await stack.sql<{ count: string }>('select count(*) from log');
  process.stdout.write(
    `${KILLS} kills: ${sum((w) => w.acknowledgements)} acknowledged, ${sum((w) => w.refused)} refused, ${sum((w) => w.unknown)} unknown; ` +
      `${count} statements took effect; read pending ${seen('pending')}, cached ${seen('cached')}, loaded ${seen('loaded')}, bypass ${seen('bypass')}, failed ${seen('failed')}\n`,
  );
});
