import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { RedisStore } from '../../../sidecar/src/adapters/redis/store.ts';
import { ownRedisWorld, type RedisWorld } from './redis-world.ts';
import { entryOf, noiseOf, order, user } from './world.ts';

// How many commands Redis gets, by its own count.

const BUCKETS = 2;
let world: RedisWorld;
let store: RedisStore;

beforeAll(async () => {
  world = await ownRedisWorld({ buckets: BUCKETS });
});
afterAll(() => world?.close());
beforeEach(async () => {
  await world.reset();
  store = world.newStore();
  // It knows the generations then, and the scripts are there.
  for (let i = 0; i < 20; i++) await store.fill(user, `warm${i}`, entryOf({ tags: ['t'] }));
  await Promise.all(Array.from({ length: 20 }, (_, i) => store.read(user, `warm${i}`)));
});

/** How often each command was called while something was done. */
async function counted(work: () => Promise<unknown>): Promise<Record<string, number>> {
  await world.client.command('CONFIG', 'RESETSTAT');
  await work();
  const info = String(await world.client.command('INFO', 'commandstats'));
  const found = [...info.matchAll(/cmdstat_(mget|evalsha|eval|set|get|unlink):calls=(\d+)/g)];
  // What scripts call is counted as well; of those, only SET and GET are looked at nowhere.
  return Object.fromEntries(found.map(([, name = '', calls]) => [name, Number(calls)]));
}

const many = (count: number, each: (i: number) => Promise<unknown>): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, (_, i) => each(i)));

it('one read is one command, of one that has tags two', async () => {
  await store.fill(user, 'k', entryOf());
  await store.fill(user, 'tagged', entryOf({ tags: ['t'] }));
  expect(await counted(() => store.read(user, 'k'))).toEqual({ mget: 1 });
  expect(await counted(() => store.read(user, 'tagged'))).toMatchObject({ mget: 1, evalsha: 1 });
  expect(await counted(() => store.readPlain('plain', 'k'))).toEqual({ mget: 1 });
});

it('a hundred reads in one tick are one command a bucket, and one more where some have tags', async () => {
  await many(100, (i) => store.fill(i % 2 === 0 ? user : order, `k${i}`, entryOf()));
  const before = { ...store.counters.commands, reads: store.counters.reads };
  const read = (i: number): Promise<unknown> => store.read(i % 2 === 0 ? user : order, `k${i}`);
  expect(await counted(() => many(100, read))).toEqual({ mget: BUCKETS });
  expect(store.counters.reads - before.reads).toBe(100);
  expect(store.counters.commands.read - before.read).toBe(BUCKETS);
  await many(30, (i) => store.fill(i % 2 === 0 ? user : order, `k${i}`, entryOf({ tags: [`t${i}`, 't'] })));
  expect(await counted(() => many(100, read))).toMatchObject({ mget: BUCKETS, evalsha: BUCKETS });
});

it('one command asks for so many keys and no more', async () => {
  const read = (i: number): Promise<unknown> => store.read(user, `k${i}`);
  const { mget = 0 } = await counted(() => many(1000, read));
  expect(mget).toBeGreaterThanOrEqual(Math.ceil(1000 / 128));
  expect(mget).toBeLessThanOrEqual(Math.ceil(1000 / 128) + BUCKETS);
});

it('a hundred reads without coherence are one command a bucket', async () => {
  await many(100, (i) => store.writePlain('plain', `k${i}`, entryOf()));
  expect(await counted(() => many(100, (i) => store.readPlain('plain', `k${i}`)))).toEqual({ mget: BUCKETS });
});

it('a large value is one command more, for all of its chunks', async () => {
  await store.fill(user, 'k', entryOf({ body: noiseOf(500_000) }));
  expect(await counted(() => store.read(user, 'k'))).toEqual({ mget: 2 });
});

it('after a log began anew all of them are asked once again', async () => {
  await world.reset();
  const fresh = world.newStore();
  expect(await counted(() => many(100, (i) => fresh.read(user, `k${i}`)))).toEqual({ mget: 2 * BUCKETS });
  expect(await counted(() => many(100, (i) => fresh.read(user, `k${i}`)))).toEqual({ mget: BUCKETS });
});
