import { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { startStack, type Stack } from '../kit/index.ts';
import { type App, appsOf } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';
import { makeCommitsWait } from './support/waiting-commits.ts';

// What an application sees while parts fail. Servers of its own, because it ends, pauses and rewinds them.

const MAX_STALENESS_MS = 5_000;
const ROWS = 50;
const onlyIfCached = { 'cache-control': 'only-if-cached' };

let stack: Stack;
let apps: App[];

beforeAll(async () => {
  stack = await startStack({
    sidecars: 2,
    env: { sidecar: { TIDEMARK_MAX_STALENESS: `${MAX_STALENESS_MS}ms`, TIDEMARK_COALESCE_TIMEOUT: '200ms' } },
    initSql: `
      create table items (id int primary key, version int not null);
      insert into items select n, 0 from generate_series(1, ${ROWS}) n;
    `,
    config: { namespaces: { items: { source: 'main', invalidate: [{ table: 'public.items', keys: ['{id}'] }] } } },
  });
  apps = appsOf(stack);
});

afterAll(() => stack?.stop());

beforeEach(async () => {
  showLogsOnFailure(stack);
  await cacheable(stack);
});

const versionOf = async (id: number): Promise<string> =>
  `${(await stack.sql<{ version: number }>('select version from items where id = $1', [id]))[0]?.version}`;
const change = async (id: number): Promise<void> =>
  void (await stack.sql('update items set version = version + 1 where id = $1', [id]));

/** Reads through a sidecar until it serves the row as it is now, from the cache. */
async function cached(app: App, id: number): Promise<string> {
  return eventually(async () => {
    const version = await versionOf(id);
    await app.read('items', `${id}`, () => versionOf(id));
    expect(await app.get('items', `${id}`, onlyIfCached)).toMatchObject({ status: 200, body: version });
    return version;
  });
}

/** No sidecar serves this version of a row any more. */
async function notServed(id: number, version: string): Promise<void> {
  for (const app of apps)
    await eventually(async () => expect((await app.get('items', `${id}`, onlyIfCached)).body).not.toBe(version));
}

async function flushAll(url: string): Promise<void> {
  const client = new Redis(url);
  await client.flushall();
  client.disconnect();
}

/** Everything is cached again, and as it stands in Postgres. */
async function recovered(): Promise<void> {
  for (const app of apps) {
    await eventually(
      async () => {
        for (let id = 1; id <= ROWS; id += 7) {
          await app.read('items', `${id}`, () => versionOf(id));
          expect(await app.get('items', `${id}`, onlyIfCached)).toMatchObject({
            status: 200,
            body: await versionOf(id),
          });
        }
      },
      { withinMs: 60_000 },
    );
  }
}

it('[I3] keeps no entry from before a commit that was streamed before it is visible', async () => {
  const [a] = apps as [App];
  const old = await cached(a, 1);
  await makeCommitsWait(stack.postgres, 'nobody');
  const hanging = change(1);
  try {
    await notServed(1, old);
    // The row still reads as before, so whoever fills now fills the old value: it must not be kept.
    expect(await versionOf(1)).toBe(old);
    for (let i = 0; i < 10; i += 1) {
      const { lease } = await a.get('items', '1');
      expect((await a.put('items', '1', await versionOf(1), { lease })).status).toBe(409);
      for (const app of apps) expect((await app.get('items', '1', onlyIfCached)).status).not.toBe(200);
    }
  } finally {
    await stack.sql('alter system reset synchronous_standby_names');
    await stack.sql('select pg_reload_conf()');
    await hanging;
  }
  expect(await cached(a, 1)).not.toBe(old);
});

it('[I2] loses no invalidation when the invalidator is killed under load, again and again', async () => {
  const [a, b] = apps as [App, App];
  let running = true;
  let writes = 0;
  const writer = async (): Promise<void> => {
    for (let id = 1; running; id = (id % ROWS) + 1) {
      await change(id);
      writes += 1;
    }
  };
  const reader = async (app: App): Promise<void> => {
    for (let id = 1; running; id = (id % ROWS) + 1) await app.read('items', `${id}`, () => versionOf(id));
  };
  const load = Promise.all([writer(), writer(), reader(a), reader(b)]);
  try {
    for (let kill = 0; kill < 5; kill += 1) {
      const { starts } = stack.invalidator;
      const before = writes;
      await eventually(() => expect(writes).toBeGreaterThan(before + 50));
      await stack.invalidator.kill('SIGKILL');
      await eventually(() => expect(stack.invalidator.starts).toBeGreaterThan(starts), { withinMs: 60_000 });
    }
  } finally {
    running = false;
    await load;
  }
  await recovered();
  for (let id = 1; id <= ROWS; id += 1)
    for (const app of apps)
      await eventually(async () =>
        expect(await app.read('items', `${id}`, () => versionOf(id))).toBe(await versionOf(id)),
      );
}, 400_000);

it('[I9] answers misses once Kafka has been away for too long, and recovers by itself', async () => {
  const [a] = apps as [App];
  const old = await cached(a, 2);
  const { kafka } = stack.servers;
  kafka.hold();
  await kafka.kill();
  await change(2);
  await notServed(2, old);
  expect((await a.get('items', '2')).lease).toBeUndefined();
  await kafka.release();
  await recovered();
  expect(await cached(a, 2)).not.toBe(old);
}, 300_000);

it('[I7] costs misses only when Redis is stopped, flushed or goes back in time', async () => {
  const [a, b] = apps as [App, App];
  const { redis } = stack.servers;
  const old = await cached(a, 3);
  await eventually(async () =>
    expect(await b.get('items', '3', onlyIfCached)).toMatchObject({ status: 200, body: old }),
  );
  const snapshot = await redis.snapshot();
  try {
    redis.hold();
    await redis.kill();
    expect((await a.get('items', '3', onlyIfCached)).status).toBe(200);
    await change(3);
    await notServed(3, old);
    await cached(a, 3);
    await redis.release();
    await recovered();
    await change(3);
    await notServed(3, `${Number(old) + 1}`);
    const sidecar = stack.sidecars[1];
    await sidecar?.restart();
    await flushAll(redis.url);
    await recovered();
    await redis.restore(snapshot);
    // Redis holds the first version again; nobody may believe it.
    for (let i = 0; i < 50; i += 1)
      for (const app of apps) expect((await app.get('items', '3', onlyIfCached)).body).not.toBe(old);
  } finally {
    await snapshot.remove();
  }
  await recovered();
}, 300_000);

it('[I1] flushes a sidecar that slept until the stream no longer held what it had missed', async () => {
  const [a] = apps as [App];
  const old = await cached(a, 4);
  const sidecar = stack.sidecars[0];
  sidecar?.pause();
  const pausedAtMs = performance.now();
  try {
    await change(4);
    const admin = new Kafka({ brokers: [...stack.brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    const end = await eventually(async () => {
      const offsets = await admin.fetchTopicOffsets(stack.topic);
      expect(Number(offsets[0]?.high)).toBeGreaterThan(0);
      return offsets[0]?.high ?? '0';
    });
    await eventually(
      async () =>
        expect(Number((await admin.fetchTopicOffsets(stack.topic))[0]?.high)).toBeGreaterThan(Number(end) + 3),
      { withinMs: 60_000, everyMs: 100 },
    );
    // When it wakes up it knows that it has heard nothing for too long.
    await eventually(() => expect(performance.now() - pausedAtMs).toBeGreaterThan(MAX_STALENESS_MS));
    await admin.deleteTopicRecords({
      topic: stack.topic,
      partitions: [{ partition: 0, offset: `${Number(end) + 2}` }],
    });
    await admin.disconnect();
  } finally {
    sidecar?.resume();
  }
  for (let i = 0; i < 50; i += 1) expect((await a.get('items', '4', onlyIfCached)).body).not.toBe(old);
  await recovered();
}, 300_000);

it('[I10] begins a new epoch when the slot was lost, and serves nothing from before it', async () => {
  const [a] = apps as [App];
  const old = await cached(a, 5);
  const epochOf = async (url: string): Promise<number> => {
    const status = (await (await fetch(`${url}/v1/status`)).json()) as { sources: Record<string, { epoch: number }> };
    return status.sources[stack.source]?.epoch ?? 0;
  };
  const before = await epochOf(stack.sidecars[0]?.url ?? '');
  stack.invalidator.hold();
  await stack.invalidator.kill();
  await eventually(() => stack.sql('select pg_drop_replication_slot($1)', [stack.slot]));
  await change(5);
  await stack.invalidator.release();
  for (const { url } of stack.sidecars)
    await eventually(async () => expect(await epochOf(url)).toBeGreaterThan(before), { withinMs: 60_000 });
  for (const app of apps) expect((await app.get('items', '5', onlyIfCached)).body).not.toBe(old);
  await recovered();
}, 300_000);
