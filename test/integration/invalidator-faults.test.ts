import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startStack, type Stack } from '../kit/index.ts';
import { eventually } from './support/eventually.ts';
import { Feed } from './support/feed.ts';
import { anotherInvalidator } from './support/invalidator.ts';
import { Writers } from './support/writers.ts';
import { showLogsOnFailure } from './support/stack.ts';

// What records say while the invalidator, Kafka and Postgres are killed, paused and restarted. Servers of its own.

let stack: Stack;
let feed: Feed;

beforeAll(async () => {
  stack = await startStack({
    sidecars: 0,
    applier: false,
    redis: false,
    servers: { postgres: { fsync: false } },
    initSql:
      'create table items (id bigint primary key, n int not null default 0); create table single (id int primary key)',
    config: { namespaces: { items: { source: 'main', invalidate: [{ table: 'public.items', keys: ['{id}'] }] } } },
  });
  feed = await Feed.open(stack);
}, 90_000);

afterAll(async () => {
  await feed?.stop();
  await stack?.stop();
});

beforeEach(() => showLogsOnFailure(stack));

/** The position that everything committed so far lies at or before. */
async function insertLsn(): Promise<string> {
  const [row] = await stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  return row?.lsn ?? '';
}

/** Every id that was committed was published, in whichever records. */
async function expectAllPublished(writers: Writers, withinMs = 30_000): Promise<void> {
  await feed.reaches(await insertLsn(), withinMs);
  const published = new Set(feed.changes().map(({ after }) => after?.['id']));
  const rows = await stack.sql<{ id: string }>('select id from items where id between $1 and $2', [
    writers.first,
    writers.last,
  ]);
  expect(rows.length).toBeGreaterThanOrEqual(writers.acknowledged.length);
  expect(rows.filter(({ id }) => !published.has(id))).toEqual([]);
}

const epochs = (): number[] => [...new Set(feed.batches.map(({ epoch }) => epoch))];

describe('killed with SIGKILL at random moments under load', () => {
  it('[I1] [I2] loses nothing and stays in its epoch', { timeout: 120_000 }, async () => {
    const before = epochs();
    const writers = new Writers({ url: stack.postgres, table: 'items', clients: 4, perSecond: 400 });
    for (let round = 0; round < 8; round++) {
      const { length } = writers.acknowledged;
      // A moment that depends on the machine, somewhere in the work of the next few records.
      await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(length + 37 * (round + 1)));
      await stack.invalidator.kill();
      await stack.invalidator.ready();
    }
    await writers.stop();
    await expectAllPublished(writers);
    expect(epochs()).toEqual(before);
  });
});

describe('while Kafka is away', () => {
  it.each([
    ['killed, for 20 s', 4000, () => stack.servers.kafka.kill(), () => stack.servers.kafka.release()],
    // Longer than a request may take.
    ['paused, for 8 s', 1600, async () => stack.servers.kafka.pause(), async () => stack.servers.kafka.resume()],
  ])(
    '%s: keeps the slot, and publishes everything afterwards',
    { timeout: 120_000 },
    async (_how, writes, away, back) => {
      const before = epochs();
      const writers = new Writers({ url: stack.postgres, table: 'items', clients: 2, perSecond: 200 });
      await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(50));
      stack.servers.kafka.hold();
      await away();
      const { length } = writers.acknowledged;
      await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(length + writes), {
        withinMs: 60_000,
        everyMs: 100,
      });
      await back();
      await stack.servers.kafka.release();
      await writers.stop();
      await expectAllPublished(writers, 60_000);
      expect(epochs()).toEqual(before);
    },
  );
});

describe('when Postgres restarts', () => {
  it.each(['SIGINT', 'SIGKILL'] as const)('%s: goes on in its epoch', { timeout: 120_000 }, async (signal) => {
    const before = epochs();
    const writers = new Writers({ url: stack.postgres, table: 'items', clients: 2, perSecond: 200 });
    await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(50));
    await stack.servers.postgres.restart(signal);
    const { length } = writers.acknowledged;
    await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(length + 50), { withinMs: 30_000 });
    await writers.stop();
    await expectAllPublished(writers, 60_000);
    expect(epochs()).toEqual(before);
  });
});

describe('POST /v1/purge', () => {
  it('says that it cannot be done while Postgres is away, and the process lives on', { timeout: 60_000 }, async () => {
    const purge = () =>
      fetch(`${stack.invalidator.url}/v1/purge`, {
        method: 'POST',
        body: '{"purge":[{"namespace":"items","all":true}]}',
      });
    stack.servers.postgres.hold();
    await stack.servers.postgres.kill();
    const refused = await purge();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect((await fetch(`${stack.invalidator.url}/livez`)).status).toBe(200);
    await eventually(async () => expect((await fetch(`${stack.invalidator.url}/readyz`)).status).toBe(503));
    await stack.servers.postgres.release();
    await eventually(async () => expect((await purge()).status).toBe(200), { withinMs: 20_000 });
    await eventually(async () => expect((await fetch(`${stack.invalidator.url}/readyz`)).status).toBe(200), {
      withinMs: 20_000,
    });
  });
});

describe('the slot', () => {
  it('[I10] that was dropped is made again, under a new epoch', async () => {
    const before = epochs();
    await eventually(async () => {
      await stack.sql('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1', [
        stack.slot,
      ]);
      await stack.sql('select pg_drop_replication_slot($1)', [stack.slot]);
    });
    await eventually(() => expect(epochs()).toHaveLength(before.length + 1), { withinMs: 15_000 });
    expect(feed.last.epoch).toBeGreaterThan(before.at(-1) ?? 0);
    const writers = new Writers({ url: stack.postgres, table: 'items', clients: 1, perSecond: 100 });
    await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(20));
    await writers.stop();
    await expectAllPublished(writers);
  });

  it(
    '[I10] that lost its WAL while the invalidator was away is made again, under a new epoch',
    { timeout: 60_000 },
    async () => {
      const before = epochs();
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
      await feed.reaches(await insertLsn());
      expect(epochs()).toHaveLength(before.length + 1);
      expect(stack.logs('invalidator').join('\n')).toContain('slot-lost');
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
    await eventually(async () => expect(await held()).toBeLessThan(10_000), { withinMs: 10_000 });
    const { length } = feed.batches;
    await eventually(() => expect(feed.batches.length).toBeGreaterThan(length + 2), { withinMs: 10_000 });
    expect(await held()).toBeLessThan(10_000);
  });
});

describe('a second invalidator', () => {
  it('waits, says so, and takes over when the first one ends', { timeout: 60_000 }, async () => {
    const second = await anotherInvalidator(stack, { name: 'second' });
    const started = second.start();
    await eventually(async () => expect((await fetch(`${second.url}/readyz`)).status).toBe(503), { withinMs: 15_000 });
    await eventually(async () => expect(await (await fetch(`${second.url}/readyz`)).text()).toContain('standby'), {
      withinMs: 15_000,
    });
    expect((await fetch(`${second.url}/livez`)).status).toBe(200);
    const before = epochs();
    stack.invalidator.hold();
    await stack.invalidator.kill();
    await started;
    expect((await fetch(`${second.url}/readyz`)).status).toBe(200);
    expect(second.logs().filter((line) => line.includes('waiting for it'))).toHaveLength(1);
    // SIGTERM gives it up at once, and a third one goes on.
    expect(await second.kill('SIGTERM')).toMatchObject({ code: 0 });
    await stack.invalidator.release();
    await stack.sql('insert into items values (-1)');
    await feed.reaches(await insertLsn());
    expect(feed.changes().some(({ after }) => after?.['id'] === '-1')).toBe(true);
    expect(epochs()).toEqual(before);
  });
});

describe('a commit that is streamed before it is visible', () => {
  const hang = async (yes: boolean): Promise<void> => {
    await stack.sql(
      `alter system ${yes ? "set synchronous_standby_names = 'nobody'" : 'reset synchronous_standby_names'}`,
    );
    await stack.sql('select pg_reload_conf()');
    await eventually(async () =>
      expect((await stack.sql<{ v: string }>(`select current_setting('synchronous_standby_names') as v`))[0]?.v).toBe(
        yes ? 'nobody' : '',
      ),
    );
  };

  it(
    '[I3] is published at once with a visible position before it, also after a restart, until it is seen',
    { timeout: 60_000 },
    async () => {
      const before = epochs();
      const writer = new pg.Client({ connectionString: stack.postgres });
      writer.on('error', () => undefined);
      await writer.connect();
      await hang(true);
      const commitOf = (id: string) => feed.changes().find(({ after }) => after?.['id'] === id)?.commit ?? Number.NaN;
      const writing = writer.query('insert into items values (-2)');
      try {
        await eventually(() => expect(commitOf('-2')).toBeGreaterThan(0), { withinMs: 5000 });
        expect(await stack.sql('select from items where id = -2')).toHaveLength(0);
        expect(feed.last.visible).toBeLessThan(commitOf('-2'));
        const { length } = feed.batches;
        await eventually(() => expect(feed.batches.length).toBeGreaterThan(length + 2), { withinMs: 10_000 });
        expect(feed.last.visible).toBeLessThan(commitOf('-2'));
        expect(feed.last.to).toBeGreaterThan(commitOf('-2'));

        await stack.invalidator.kill();
        await stack.invalidator.ready();
        const restarted = feed.batches.length;
        await eventually(() => expect(feed.batches.length).toBeGreaterThan(restarted + 2), { withinMs: 10_000 });
        expect(feed.last.visible).toBeLessThan(commitOf('-2'));
      } finally {
        await hang(false);
      }
      await writing;
      await writer.end();
      await eventually(() => expect(feed.last.visible).toBeGreaterThanOrEqual(commitOf('-2')), { withinMs: 2000 });
      expect(epochs()).toEqual(before);
    },
  );
});
