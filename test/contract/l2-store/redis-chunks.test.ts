import type { Entry } from '@tidemark/proto';
import { bucketKeys } from '@tidemark/proto/redis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RedisStore } from '../../../sidecar/src/adapters/redis/store.ts';
import { eventually } from '../../integration/support/eventually.ts';
import { ownRedisWorld, SOURCE, type RedisWorld } from './redis-world.ts';
import { entryOf, noiseOf, PACKING, textOf, user } from './world.ts';

// What large values look like in Redis, and that nothing of them stays behind.

let world: RedisWorld;
let store: RedisStore;

beforeAll(async () => {
  world = await ownRedisWorld({ buckets: 1 });
});
afterAll(() => world?.close());
beforeEach(async () => {
  await world.reset();
  store = world.newStore();
});

const keys = bucketKeys(SOURCE, 0);
const head = keys.entry('g', user.hashHex, 'k');
const large = (more: Partial<Entry> = {}): Entry => entryOf({ body: noiseOf(200_000), ...more });

async function command<T>(name: string, ...args: readonly (string | number | Buffer)[]): Promise<T> {
  return (await world.client.command(name, ...args)) as T;
}

/** Names of all chunks. */
async function chunks(): Promise<string[]> {
  const found = await command<Buffer[]>('KEYS', keys.chunk('*', 0).replace(/:0$/, ':*').replace('{', '\\{'));
  return found.map(String).toSorted();
}

async function read(): Promise<Entry | undefined> {
  const found = await world.newStore().read(user, 'k');
  if (typeof found === 'string') throw new Error(`Redis is ${found}`);
  return found.entry;
}

/** Removing is nobody's to wait for. */
const left = (count: number): Promise<void> => eventually(async () => expect((await chunks()).length).toBe(count));

describe('a value that is larger than a chunk, compressed', () => {
  it('lies in chunks that live as long as what names them', async () => {
    await store.fill(user, 'k', large());
    const names = await chunks();
    expect(names.length).toBe(4);
    const sizes = await Promise.all(names.map((name) => command<number>('STRLEN', name)));
    expect(sizes.toSorted((a, b) => b - a)).toEqual([65_536, 65_536, 65_536, 200_000 - 3 * 65_536]);
    expect(await command<number>('STRLEN', head)).toBeLessThan(200);
    for (const name of names) {
      const ttl = await command<number>('PTTL', name);
      expect(ttl).toBeGreaterThan(60_000);
      expect(ttl).toBeLessThanOrEqual(90_000);
    }
    expect(Buffer.compare((await read())!.body, large().body)).toBe(0);
    expect(store.packing).toMatchObject({
      ...{ values: 1, valueBytes: 200_000, storedBytes: 200_000 },
      compressions: { smaller: 0, larger: 1 },
      chunks: { written: 4 },
    });
  });

  it('lies in one piece where compression makes it small', async () => {
    await store.fill(user, 'k', entryOf({ body: textOf(200_000) }));
    expect(await chunks()).toEqual([]);
    expect(await command<number>('STRLEN', head)).toBeLessThan(1000);
    expect(store.packing.storedBytes).toBeLessThan(1000);
  });

  it.each<[string, (names: readonly string[]) => Promise<unknown>]>([
    ['is missing', ([, second = '']) => command('DEL', second)],
    ['is empty', ([first = '']) => command('SET', first, '')],
    ['is damaged', ([first = '']) => command('SETRANGE', first, 1000, 'X')],
    ['is too long', ([, , , last = '']) => command('APPEND', last, 'X')],
    [
      'is that of another value',
      async ([first = '']) => {
        await store.fill(user, 'other', large({ body: noiseOf(200_100) }));
        const other = (await chunks()).find((name) => !name.startsWith(first.replace(/\d+$/, '')));
        return command('SET', first, await command<Buffer>('GET', other ?? ''));
      },
    ],
    [
      'is another one of it',
      async ([first = '', second = '']) => command('SET', first, await command<Buffer>('GET', second)),
    ],
    [
      'is of another type, as is all of it',
      async (names) => {
        for (const name of names) {
          await command('DEL', name);
          await command('LPUSH', name, 'x');
        }
      },
    ],
  ])('[I6] is none where a chunk %s', async (_, harm) => {
    await store.fill(user, 'k', large());
    await harm(await chunks());
    expect(await read()).toBeUndefined();
  });

  it('[I6] is none where it claims to be larger than a value may be', async () => {
    const most = PACKING.maxItemBytes;
    await store.fill(user, 'k', entryOf({ body: Buffer.alloc(most + 1) }));
    expect(await read()).toBeUndefined();
    await store.fill(user, 'k', entryOf({ body: Buffer.alloc(most) }));
    expect((await read())?.body.length).toBe(most);
  });

  it('has other chunks each time that it is stored, and those of before go', async () => {
    await store.fill(user, 'k', large());
    const before = await chunks();
    await store.fill(user, 'k', large({ asOf: 2001 }));
    await left(4);
    expect((await chunks()).filter((name) => before.includes(name))).toEqual([]);
    expect((await read())?.asOf).toBe(2001);
    await store.fill(user, 'k', entryOf({ asOf: 2002 }));
    await left(0);
  });

  it('leaves none behind where it is refused', async () => {
    await store.fill(user, 'k', large({ asOf: 2001 }));
    const before = await chunks();
    expect(await store.fill(user, 'k', large())).toBe('newer');
    expect(await store.fill(user, 'another', large({ epoch: 2 }))).toBe('changed');
    await left(4);
    expect(await chunks()).toEqual(before);
    expect((await read())?.asOf).toBe(2001);
  });

  it('[I7] leaves none behind where it is invalidated by its key', async () => {
    await store.fill(user, 'k', large());
    await store.fill(user, 'other', large());
    await world.invalidate!(3000, { keys: ['k'] });
    await left(4);
    expect(await read()).toBeUndefined();
  });

  it('leaves none behind without coherence', async () => {
    await store.writePlain('plain', 'k', large());
    await store.writePlain('plain', 'k', large());
    await left(4);
    await store.deletePlain('plain', 'k');
    await left(0);
    await store.writePlain('plain', 'k', large());
    await store.writePlain('plain', 'k', entryOf());
    await left(0);
  });
});
