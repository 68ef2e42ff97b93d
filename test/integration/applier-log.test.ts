import { Kafka, logLevel, type Admin } from 'kafkajs';
import { loadConfigFile } from '@tidemark/runtime';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { createStack, startRedis, type RedisServer, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { eventually } from './support/eventually.ts';
import { L2, metric } from './support/l2.ts';
import { showLogsOnFailure } from './support/stack.ts';
import { Stream } from './support/stream.ts';

// The applier alone, between a stream that the test writes and a Redis that the test stops and rewinds.

let redis: RedisServer;
let stack: Stack;
let stream: Stream;
let l2: L2;
let admin: Admin;

beforeAll(async () => {
  redis = await startRedis();
  stack = await createStack(
    { ...sharedServers(), redis },
    {
      prepareOnly: true,
      // As text: the kit's type knows no more of a source than its topic.
      config: JSON.stringify({
        sources: { main: { l2: { buckets: 2 } } },
        namespaces: {
          user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] },
          list: { source: 'main', invalidate: [{ table: 'public.users', tags: ['user:{id}'] }] },
          private: {
            source: 'main',
            l2: { enabled: false },
            invalidate: [{ table: 'public.users', keys: ['{id}', 'again:{id}'] }],
          },
        },
      }),
    },
  );
  l2 = new L2(stack.redis, loadConfigFile(stack.configFile));
  stream = new Stream({ brokers: stack.brokers, topic: stack.topic, covers: l2.covers() });
  await stream.start();
  admin = new Kafka({ brokers: [...stack.brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
});
beforeEach(async () => {
  showLogsOnFailure(stack);
  stream.beat();
  await stack.applier.start();
  await l2.reaches(stream.to);
});
afterEach(() => stream.hush());
afterAll(async () => {
  l2?.redis.disconnect();
  await admin?.disconnect();
  await stream?.stop();
  await stack?.stop();
  await redis?.stop();
});

const begun = (reason: string): Promise<number> =>
  metric(stack.applier.url, `tidemark_applier_generations_total{reason="${reason}"}`);

/** Stores a value for a key that nothing has invalidated since. */
async function stored(namespace: string, key: string, tags: readonly string[] = []): Promise<number> {
  const { to } = await l2.header();
  expect(await l2.fill(namespace, key, { asOf: to, tags })).toBe('ok');
  expect(await l2.has(namespace, key)).toBe(true);
  return to;
}

it('[I7] deletes what a record invalidates, and refuses to store it again from before', async () => {
  const asOf = await stored('user', '1');
  await stored('user', '2');
  await stored('list', 'all', ['user:1', 'user:2']);
  await stored('list', 'second', ['user:2']);
  const { to } = await stream.say({ users: ['1'] });
  await l2.reaches(to);
  expect(await l2.has('user', '1')).toBe(false);
  expect(await l2.has('list', 'all')).toBe(false);
  expect(await l2.has('user', '2')).toBe(true);
  expect(await l2.has('list', 'second')).toBe(true);
  expect(await l2.fill('user', '1', { asOf })).toBe('fenced');
  expect(await l2.fill('list', 'all', { asOf, tags: ['user:1'] })).toBe('fenced');
  expect(await l2.fill('user', '1', { asOf: to })).toBe('ok');
});

it('applies a purge of a namespace, and no namespace without L2', async () => {
  await stored('user', '1');
  await stored('list', 'all', ['user:1']);
  const { to } = await stream.say({ purges: [{ namespace: 'user', keys: [], tags: [], all: true }] });
  await l2.reaches(to);
  expect(await l2.fill('user', '1', { asOf: to - 10 })).toBe('fenced');
  expect(await l2.has('list', 'all')).toBe(true);
  expect(await l2.fill('private', '1', { asOf: to })).toBe('unknown');
});

it('applies a record with more changes than one call may have', async () => {
  const users = Array.from({ length: 9_000 }, (_, i) => `many-${i}`);
  const some = users.filter((_, i) => i % 500 === 0);
  for (const user of some) await stored('user', user);
  const before = await metric(stack.applier.url, 'tidemark_applier_deleted_entries_total');
  const { to } = await stream.say({ users });
  await l2.reaches(to);
  for (const user of some) expect(await l2.has('user', user)).toBe(false);
  expect(await l2.fill('user', 'many-8999', { asOf: to - 10 })).toBe('fenced');
  const deleted = (await metric(stack.applier.url, 'tidemark_applier_deleted_entries_total')) - before;
  expect(deleted).toBe(some.length);
});

it('begins anew when Redis was flushed, so that nothing from before can be stored', async () => {
  const asOf = await stored('user', '1');
  const { generation } = await l2.header();
  await l2.redis.flushall();
  await eventually(async () => expect((await l2.header()).generation).not.toBe(generation));
  // Each bucket has a log of its own, and they begin one after the other.
  await eventually(async () => expect(await l2.fill('user', '1', { asOf: asOf - 10 })).toBe('old'));
  await l2.reaches((await stream.say({})).to);
  await stored('user', '1');
  expect(await begun('missing')).toBeGreaterThan(0);
});

it('[I7] reads Kafka again when Redis went back in time, and deletes again what came back with it', async () => {
  await stored('user', '1');
  await stored('user', '2');
  const snapshot = await redis.snapshot();
  const { generation } = await l2.header();
  const { to } = await stream.say({ users: ['1'] });
  await l2.reaches(to);
  expect(await l2.has('user', '1')).toBe(false);
  // Nothing is applied before the test has seen what came back.
  stack.applier.pause();
  await redis.restore(snapshot);
  expect(await l2.has('user', '1')).toBe(true);
  expect((await l2.header()).to).toBeLessThan(to);
  stack.applier.resume();
  await l2.reaches(to);
  expect(await l2.has('user', '1')).toBe(false);
  expect(await l2.has('user', '2')).toBe(true);
  expect((await l2.header()).generation).toBe(generation);
  expect(await metric(stack.applier.url, 'tidemark_applier_holes_total')).toBeGreaterThan(0);
  await snapshot.remove();
});

it('waits for Redis as long as it is away, says so, and skips nothing', async () => {
  await stored('user', '1');
  const { generation } = await l2.header();
  await redis.kill();
  const { to } = await stream.say({ users: ['1'] });
  await eventually(async () => expect((await fetch(`${stack.applier.url}/readyz`)).status).toBe(503));
  expect((await fetch(`${stack.applier.url}/livez`)).status).toBe(200);
  await redis.start();
  await l2.reaches(to);
  expect(await l2.has('user', '1')).toBe(false);
  expect((await l2.header()).generation).toBe(generation);
  await eventually(async () => expect((await fetch(`${stack.applier.url}/readyz`)).status).toBe(200));
});

it('survives a Redis that stands still', async () => {
  await stored('user', '1');
  redis.pause();
  const { to } = await stream.say({ users: ['1'] });
  await eventually(async () => expect((await fetch(`${stack.applier.url}/readyz`)).status).toBe(503));
  redis.resume();
  await l2.reaches(to);
  expect(await l2.has('user', '1')).toBe(false);
});

it('loses nothing when it is killed in the middle of its work', async () => {
  const { generation } = await l2.header();
  const users = Array.from({ length: 200 }, (_, i) => `killed-${i}`);
  for (const user of users) await stored('user', user);
  const said = users.map((user) => stream.say({ users: [user] }));
  await said[50];
  await stack.applier.kill();
  const last = (await Promise.all(said)).at(-1);
  await l2.reaches(last?.to ?? 0);
  for (const user of users) expect(await l2.has('user', user)).toBe(false);
  expect((await l2.header()).generation).toBe(generation);
});

it('begins anew when Kafka has forgotten what it would need next', async () => {
  const asOf = await stored('user', '1');
  const { generation, offset } = await l2.header();
  stack.applier.hold();
  await stack.applier.kill('SIGTERM');
  for (let i = 0; i < 5; i++) await stream.say({ users: ['1'] });
  const [partition] = await admin.fetchTopicOffsets(stack.topic);
  expect(Number(partition?.high)).toBeGreaterThan(Number(offset) + 2);
  await admin.deleteTopicRecords({
    topic: stack.topic,
    partitions: [{ partition: 0, offset: String(Number(partition?.high) - 1) }],
  });
  await stack.applier.release();
  await l2.reaches(stream.to);
  expect((await l2.header()).generation).not.toBe(generation);
  expect(await l2.has('user', '1')).toBe(false);
  expect(await l2.fill('user', '1', { asOf })).toBe('old');
  expect(await begun('lost')).toBeGreaterThan(0);
});

it.each([
  ['epoch', { newEpoch: true }],
  ['gap', { gap: true }],
])('begins anew on a new %s', async (reason, said) => {
  await stored('user', '1');
  const { generation } = await l2.header();
  const { to, epoch } = await stream.say(said);
  await eventually(async () => expect(await l2.header()).toMatchObject({ epoch }));
  await l2.reaches(to);
  expect((await l2.header()).generation).not.toBe(generation);
  expect(await l2.has('user', '1')).toBe(false);
  expect(await begun(reason)).toBeGreaterThan(0);
});

it('begins anew behind a record that cannot be read', async () => {
  await stored('user', '1');
  const { generation } = await l2.header();
  stream.hush();
  await stream.say({});
  await stream.sendBytes(new TextEncoder().encode('no batch'));
  const { to } = await stream.say({});
  await l2.reaches(to);
  expect((await l2.header()).generation).not.toBe(generation);
  expect(await begun('unreadable')).toBeGreaterThan(0);
});

it('[I8] forgets a namespace that the publisher did not serve for a while, and no other', async () => {
  await stored('user', '1');
  await stored('list', 'all', ['user:7']);
  await l2.reaches((await stream.say({ covers: l2.covers('user') })).to);
  expect(await l2.fill('user', '2', { asOf: stream.to })).toBe('unknown');
  expect(await l2.has('user', '1')).toBe(false);
  const { to } = await stream.say({ covers: l2.covers() });
  await l2.reaches(to);
  expect(await l2.has('user', '1')).toBe(false);
  expect(await l2.fill('user', '1', { asOf: to - 15 })).toBe('old');
  expect(await l2.fill('user', '1', { asOf: to })).toBe('ok');
  expect(await l2.has('list', 'all')).toBe(true);
});
