import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Stack } from '../kit/index.ts';
import { deleteTopic } from '../kit/names.ts';
import { eventually } from './support/eventually.ts';
import { Feed } from './support/feed.ts';
import { startFollowed } from './support/followed.ts';
import { anotherInvalidator } from './support/invalidator.ts';
import { showLogsOnFailure } from './support/stack.ts';
import { Writers } from './support/writers.ts';
import { makeCommitsWait } from './support/waiting-commits.ts';

// The slot, the stream and the topic when they are lost, silent, taken or ahead of what can be seen. Servers of its own.

let stack: Stack;
let feed: Feed;

beforeAll(async () => {
  ({ stack, feed } = await startFollowed());
});

afterAll(async () => {
  await feed?.stop();
  await stack?.stop();
});

beforeEach(() => showLogsOnFailure(stack));

describe('a stream that has gone silent', () => {
  it('is noticed, cut and made again', { timeout: 300_000 }, async () => {
    const before = feed.epochs;
    const pid = await eventually(async () => {
      const [slot] = await stack.sql<{ pid: number | null }>(
        'select active_pid as pid from pg_replication_slots where slot_name = $1',
        [stack.slot],
      );
      // 0 would be this very process and its relatives.
      if (!slot?.pid) throw new Error('nobody uses the slot');
      return slot.pid;
    });
    process.kill(pid, 'SIGSTOP');
    try {
      await stack.sql('insert into items values (-3)');
      await eventually(() => expect(stack.logs('invalidator').join('\n')).toContain('was silent for'), {
        withinMs: 60_000,
      });
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await feed.catchesUp(stack);
    expect(feed.changes().some(({ after }) => after?.['id'] === '-3')).toBe(true);
    expect(feed.epochs).toEqual(before);
  });
});

describe('the topic', () => {
  it('[I10] that was deleted is made again, under a new epoch', { timeout: 300_000 }, async () => {
    const [before = 0] = feed.epochs.slice(-1);
    await feed.stop();
    await deleteTopic(stack.servers, stack.topic);
    feed = await eventually(
      async () => {
        const opened = await Feed.open(stack);
        if (opened.last.epoch > before) return opened;
        await opened.stop().catch(() => undefined);
        throw new Error('the broker has not heard yet that the topic was deleted');
      },
      { withinMs: 120_000 },
    );
    await stack.sql('insert into items values (-4)');
    await feed.catchesUp(stack);
    expect(feed.changes().some(({ after }) => after?.['id'] === '-4')).toBe(true);
  });
});

describe('the slot', () => {
  it('[I10] that was dropped is made again, under a new epoch', async () => {
    const before = feed.epochs;
    await eventually(async () => {
      await stack.sql('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1', [
        stack.slot,
      ]);
      await stack.sql('select pg_drop_replication_slot($1)', [stack.slot]);
    });
    await eventually(() => expect(feed.epochs).toHaveLength(before.length + 1), { withinMs: 60_000 });
    expect(feed.last.epoch).toBeGreaterThan(before.at(-1) ?? 0);
    const writers = new Writers({ url: stack.postgres, clients: 1, perSecond: 100 });
    await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(20));
    await writers.stop();
    await writers.expectPublished({ stack, feed });
  });

  it(
    '[I10] that lost its WAL while the invalidator was away is made again, under a new epoch',
    { timeout: 300_000 },
    async () => {
      const before = feed.epochs;
      stack.invalidator.hold();
      await stack.invalidator.kill();
      await stack.sql("alter system set max_slot_wal_keep_size = '32MB'");
      await stack.sql('select pg_reload_conf()');
      await stack.sql(
        "select pg_logical_emit_message(false, 'filler', repeat('x', 1000000)) from generate_series(1, 100)",
      );
      await stack.sql('checkpoint');
      await eventually(async () => {
        const [row] = await stack.sql<{ status: string }>(
          'select wal_status as status from pg_replication_slots where slot_name = $1',
          [stack.slot],
        );
        expect(row?.status).toBe('lost');
      });
      await stack.sql('alter system reset max_slot_wal_keep_size');
      await stack.sql('select pg_reload_conf()');
      await stack.invalidator.release();
      await feed.catchesUp(stack);
      expect(feed.epochs).toHaveLength(before.length + 1);
      await eventually(() => expect(stack.logs('invalidator').join('\n')).toContain('slot-lost'));
    },
  );

  it(
    '[I10] that loses its WAL while Kafka is away is told of before, and made again, under a new epoch',
    { timeout: 300_000 },
    async () => {
      const before = feed.epochs;
      const { kafka } = stack.servers;
      kafka.hold();
      await kafka.kill();
      await stack.sql("alter system set max_slot_wal_keep_size = '32MB'");
      await stack.sql('select pg_reload_conf()');
      await stack.sql(
        "select pg_logical_emit_message(false, 'filler', repeat('x', 1000000)) from generate_series(1, 100)",
      );
      const metrics = async () => (await fetch(`${stack.invalidator.url}/metrics`)).text();
      await eventually(() => expect(stack.logs('invalidator').join('\n')).toContain('is lost at the next checkpoint'), {
        withinMs: 60_000,
      });
      await eventually(async () => expect(await metrics()).toContain('slot_wal_status{status="unreserved"} 1'));
      await stack.sql('checkpoint');
      await eventually(async () => expect(await metrics()).toContain('slot_wal_status{status="lost"} 1'), {
        withinMs: 60_000,
      });
      await stack.sql('alter system reset max_slot_wal_keep_size');
      await stack.sql('select pg_reload_conf()');
      await kafka.release();
      await feed.catchesUp(stack, 120_000);
      expect(feed.epochs).toHaveLength(before.length + 1);
      await eventually(async () => expect(await metrics()).toContain('slot_wal_status{status="reserved"} 1'));
      expect(await metrics()).toMatch(/slots_lost_total\{reason="wal_removed"\} [1-9]/);
      expect(await metrics()).toMatch(/epochs_total\{reason="slot-lost"\} [1-9]/);
    },
  );

  it('does not hold back the WAL of an idle database, nor of one that writes elsewhere', async () => {
    const held = async (): Promise<number> => {
      const [row] = await stack.sql<{ held: number }>(
        'select (pg_current_wal_insert_lsn() - confirmed_flush_lsn)::int8::float8 as held from pg_replication_slots where slot_name = $1',
        [stack.slot],
      );
      return row?.held ?? Number.POSITIVE_INFINITY;
    };
    await stack.sql(
      'create table if not exists elsewhere as select n, repeat(md5(n::text), 20) as x from generate_series(1, 20000) n',
    );
    await eventually(async () => expect(await held()).toBeLessThan(10_000));
    const { length } = feed.batches;
    await eventually(() => expect(feed.batches.length).toBeGreaterThan(length + 2));
    // The server writes for itself too, now and then: no figure of one moment counts.
    await eventually(async () => expect(await held()).toBeLessThan(10_000));
  });
});

describe('a second invalidator', () => {
  it('waits, says so, and takes over when the first one ends', { timeout: 300_000 }, async () => {
    const second = await anotherInvalidator(stack, { name: 'second' });
    const started = second.start();
    await eventually(async () => expect((await fetch(`${second.url}/readyz`)).status).toBe(503), { withinMs: 60_000 });
    await eventually(async () => expect(await (await fetch(`${second.url}/readyz`)).text()).toContain('standby'), {
      withinMs: 15_000,
    });
    expect((await fetch(`${second.url}/livez`)).status).toBe(200);
    const before = feed.epochs;
    stack.invalidator.hold();
    await stack.invalidator.kill();
    await started;
    await eventually(async () => expect((await fetch(`${second.url}/readyz`)).status).toBe(200));
    expect(second.logs().filter((line) => line.includes('waiting for it'))).toHaveLength(1);
    // SIGTERM gives it up at once, and a third one goes on.
    expect(await second.kill('SIGTERM')).toMatchObject({ code: 0 });
    await stack.invalidator.release();
    await stack.sql('insert into items values (-1)');
    await feed.catchesUp(stack);
    expect(feed.changes().some(({ after }) => after?.['id'] === '-1')).toBe(true);
    expect(feed.epochs).toEqual(before);
  });
});

describe('a commit that is streamed before it is visible', () => {
  const letGo = async (): Promise<void> => {
    await stack.sql('alter system reset synchronous_standby_names');
    await stack.sql('select pg_reload_conf()');
  };

  it(
    '[I3] is published at once with a visible position before it, also after a restart, until it is seen',
    { timeout: 300_000 },
    async () => {
      const before = feed.epochs;
      const writer = new pg.Client({ connectionString: stack.postgres });
      writer.on('error', () => undefined);
      await writer.connect();
      await makeCommitsWait(stack.postgres, 'nobody');
      const commitOf = (id: string) => feed.changes().find(({ after }) => after?.['id'] === id)?.commit ?? Number.NaN;
      const writing = writer.query('insert into items values (-2)');
      try {
        await eventually(() => expect(commitOf('-2')).toBeGreaterThan(0), { withinMs: 60_000 });
        expect(await stack.sql('select from items where id = -2')).toHaveLength(0);
        expect(feed.last.visible).toBeLessThan(commitOf('-2'));
        const { length } = feed.batches;
        await eventually(() => expect(feed.batches.length).toBeGreaterThan(length + 2));
        expect(feed.last.visible).toBeLessThan(commitOf('-2'));
        expect(feed.last.to).toBeGreaterThan(commitOf('-2'));

        await stack.invalidator.kill();
        await stack.invalidator.ready();
        const restarted = feed.batches.length;
        await eventually(() => expect(feed.batches.length).toBeGreaterThan(restarted + 2));
        expect(feed.last.visible).toBeLessThan(commitOf('-2'));
      } finally {
        await letGo();
      }
      await writing;
      await writer.end();
      await eventually(() => expect(feed.last.visible).toBeGreaterThanOrEqual(commitOf('-2')));
      expect(feed.epochs).toEqual(before);
    },
  );
});
