import type { Entry, NamespaceRules } from '@tidemark/proto';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { L2Store } from '../../../sidecar/src/core/ports.ts';
import { eventually } from '../../integration/support/eventually.ts';
import { beforeTimer } from '../../integration/support/in-turn.ts';
import { DEADLINE_MS, entryOf, noiseOf, order, textOf, user, type Differences, type L2World } from './world.ts';

/** The stores of a test that runs. */
export interface Stores {
  readonly world: L2World;
  readonly store: L2Store;
  /** Another sidecar. */
  readonly other: L2Store;
  readonly read: (key: string, from?: L2Store, namespace?: NamespaceRules) => Promise<Entry | undefined>;
  readonly expectSame: (found: unknown, entry: Entry | undefined) => void;
}

/**
 * What every L2 does, whatever it is made of; `open` connects to a backend that nobody else uses. `besides` adds tests of what not
 * all of them do.
 */
export function l2Contract(
  open: () => Promise<L2World>,
  differences: Differences,
  besides: (stores: () => Stores) => void = () => undefined,
): void {
  let world: L2World;
  let store: L2Store;
  /** Another sidecar. */
  let other: L2Store;

  beforeAll(async () => {
    world = await open();
  });
  afterAll(() => world?.close());
  beforeEach(async () => {
    await world.reset();
    store = world.newStore();
    other = world.newStore();
  });

  const read = async (key: string, from = other, namespace: NamespaceRules = user): Promise<Entry | undefined> => {
    const found = await from.read(namespace, key);
    if (typeof found === 'string') throw new Error(`the backend is ${found}`);
    return found.entry;
  };
  /** Bytes are compared by themselves: the matchers take a second for a large value. */
  const expectSame = (found: unknown, entry: Entry | undefined): void => {
    if (entry === undefined || typeof found !== 'object') {
      expect(found).toBe(entry);
      return;
    }
    const nothing = Buffer.alloc(0);
    expect({ ...(found as Entry), body: nothing }).toEqual({ ...entry, body: nothing });
    expect(Buffer.compare((found as Entry).body, entry.body), 'the bytes of the value').toBe(0);
  };

  describe('entries', () => {
    it.each<[string, Partial<Entry>]>([
      ['a value', {}],
      ['a value with tags', { tags: ['t', 'ü', '\ufeff', ''] }],
      ['a row that does not exist', { absent: true, body: Buffer.alloc(0), contentType: '', etag: '' }],
      ['any bytes', { body: Buffer.from(Array.from({ length: 256 }, (_, i) => i)) }],
    ])('[I7] %s comes back as it was stored, with memory of its own', async (_, more) => {
      const entry = entryOf(more);
      expect(await store.fill(user, 'k', entry)).toBe('ok');
      const found = await read('k');
      expectSame(found, entry);
      expect(found?.body.buffer.byteLength).toBe(entry.body.length);
    });

    it('are found under their namespace and their key only, whatever a key looks like', async () => {
      const keys = ['a', 'A', 'a:b', '{a}', 'a/ü\0', ' ', 'x'.repeat(1024), 'ü'.repeat(512), 'a\r\nb'];
      for (const [i, key] of keys.entries())
        expect(await store.fill(user, key, entryOf({ body: Buffer.from(`user ${i}`) }))).toBe('ok');
      expect(await store.fill(order, 'a', entryOf({ body: Buffer.from('order') }))).toBe('ok');
      const found = await Promise.all(keys.map((key) => read(key)));
      expect(found.map((entry) => entry?.body.toString())).toEqual(keys.map((_, i) => `user ${i}`));
      expect((await read('a', other, order))?.body.toString()).toBe('order');
      expect(await read('b', other)).toBeUndefined();
      expect(await read('a:b', other, order)).toBeUndefined();
    });

    it('[I7] of which the newest stays, in whatever order they come', async () => {
      const positions = fc.array(fc.integer({ min: 1000, max: 1010 }), { minLength: 1, maxLength: 8 });
      let name = 0;
      await fc.assert(
        fc.asyncProperty(positions, async (asOfs) => {
          const key = `k${(name += 1)}`;
          let newest = 0;
          for (const [i, asOf] of asOfs.entries()) {
            const body = Buffer.from(`${asOf}`);
            const result = await (i % 2 === 0 ? store : other).fill(user, key, entryOf({ asOf, body }));
            expect(result).toBe(asOf >= newest ? 'ok' : 'newer');
            newest = Math.max(newest, asOf);
          }
          expect((await read(key))?.asOf).toBe(newest);
          expect((await read(key))?.body.toString()).toBe(`${newest}`);
        }),
        { numRuns: 30 },
      );
    });

    it('[I10] of another epoch take no place of others unnoticed', async () => {
      await store.fill(user, 'k', entryOf());
      expect(await store.fill(user, 'k', entryOf({ epoch: 2 }))).toBe(differences.hasLog ? 'changed' : 'ok');
      expect((await read('k'))?.epoch).toBe(differences.hasLog ? 1 : 2);
    });

    it('last until their time is over, and not much longer', async () => {
      const now = Date.now();
      const until = { freshUntilMs: now + 100, expiresAtMs: now + 200, keepUntilMs: now + 400 };
      await store.fill(user, 'short', entryOf({ storedAtMs: now - 1000, ...until }));
      await store.fill(user, 'long', entryOf());
      const [short, long] = [await world.ttlMs('short'), await world.ttlMs('long')];
      expect(short).toBeLessThanOrEqual(400 + differences.slackMs);
      // Until it is no longer kept, and not only until it expires.
      expect(long).toBeGreaterThan(60_000);
      expect(long).toBeLessThanOrEqual(90_000 + differences.slackMs);
      await eventually(async () => expect(await read('short')).toBeUndefined());
      expect(await read('long')).toBeDefined();
    });

    it('[I6] that are damaged are none', async () => {
      const cases = fc.record({ at: fc.nat(100), cut: fc.boolean(), tagged: fc.boolean(), large: fc.boolean() });
      let name = 0;
      await fc.assert(
        fc.asyncProperty(cases, async ({ tagged, large, ...how }) => {
          const key = `k${(name += 1)}`;
          const body = large ? textOf(5000) : Buffer.from('value');
          await store.fill(user, key, entryOf({ tags: tagged ? ['t'] : [], body }));
          await world.damage(key, how);
          expect(await read(key)).toBeUndefined();
          expect(await store.fill(user, key, entryOf({ asOf: 3000, body }))).toSatisfy(
            (result: string) => result === 'ok' || result === 'newer',
          );
        }),
        { numRuns: 60 },
      );
    });
  });

  describe('values of any size', () => {
    const sizes = [0, 1, 1024, 1025, 5000, 64 * 1024, 64 * 1024 + 1, 300_000, 1_500_000];
    it.each(
      sizes.flatMap((bytes) => [['text', bytes, textOf(bytes)] as const, ['noise', bytes, noiseOf(bytes)] as const]),
    )('%s of %i bytes comes back, also without coherence, or is not stored at all', async (_, bytes, body) => {
      const entry = entryOf({ body, tags: bytes % 2 === 0 ? [] : ['t'] });
      const result = await store.fill(user, 'k', entry);
      const fits = bytes < differences.maxValueBytes - 1000;
      expect(fits ? ['ok'] : ['ok', 'too-large']).toContain(result);
      const found = await read('k');
      expectSame(found, result === 'ok' ? entry : undefined);
      expect(await store.writePlain('plain', 'k', entry)).toBe('ok');
      const plain = await other.readPlain('plain', 'k');
      if (fits || plain !== undefined) expectSame(plain, entry);
      if (found !== undefined) expect(found.body.buffer.byteLength).toBe(bytes);
    });
  });

  describe('many at once', () => {
    it('get each their own answer', async () => {
      const bodies = Array.from({ length: 300 }, (_, i) =>
        i % 50 === 7 ? noiseOf(70_000 + i) : i % 10 === 3 ? textOf(3000 + i) : Buffer.from(`value ${i}`),
      );
      const entries = bodies.map((body, i) => entryOf({ body, tags: i % 3 === 0 ? [`t${i}`] : [] }));
      const filled = await Promise.all(
        entries.map((entry, i) => store.fill(i % 2 === 0 ? user : order, `k${i}`, entry)),
      );
      expect(new Set(filled)).toEqual(new Set(['ok']));
      const found = await Promise.all(
        entries.flatMap((_, i) => [
          read(`k${i}`, other, i % 2 === 0 ? user : order),
          read(`k${i}`, other, i % 2 === 0 ? order : user),
        ]),
      );
      found.forEach((entry, n) => expectSame(entry, n % 2 === 0 ? entries[n / 2] : undefined));
    });

    it('also where there is no coherence', async () => {
      const bodies = Array.from({ length: 200 }, (_, i) =>
        i % 20 === 0 ? textOf(2000 + i) : Buffer.from(`value ${i}`),
      );
      await Promise.all(bodies.map((body, i) => store.writePlain('plain', `k${i}`, entryOf({ body }))));
      const found = await Promise.all(
        bodies.flatMap((_, i) => [other.readPlain('plain', `k${i}`), other.readPlain('nothing', `k${i}`)]),
      );
      found.forEach((entry, n) => {
        if (typeof entry === 'string') throw new Error(`the backend is ${entry}`);
        expect(entry?.body.toString()).toBe(n % 2 === 0 ? bodies[n / 2]?.toString() : undefined);
      });
    });
  });

  describe('entries without coherence', () => {
    it('are there until they are removed', async () => {
      const entry = entryOf({ asOf: 0, epoch: 0 });
      expect(await other.readPlain('plain', 'k')).toBeUndefined();
      expect(await store.writePlain('plain', 'k', entry)).toBe('ok');
      expectSame(await other.readPlain('plain', 'k'), entry);
      expect(await other.readPlain('plain', 'k2')).toBeUndefined();
      expect(await store.deletePlain('plain', 'k')).toBe('ok');
      expect(await other.readPlain('plain', 'k')).toBeUndefined();
    });

    it('are what was written last, though what came before takes longer to store', async () => {
      for (let i = 0; i < 10; i++) {
        const large = store.writePlain('plain', `k${i}`, entryOf({ body: textOf(400_000) }));
        const small = store.writePlain('plain', `k${i}`, entryOf({ body: Buffer.from('last') }));
        expect(await Promise.all([large, small])).toEqual(['ok', 'ok']);
        expect(await other.readPlain('plain', `k${i}`)).toMatchObject({ body: Buffer.from('last') });
        const again = store.writePlain('plain', `k${i}`, entryOf({ body: noiseOf(400_000) }));
        const gone = store.deletePlain('plain', `k${i}`);
        expect(await Promise.all([again, gone])).toEqual(['ok', 'ok']);
        expect(await other.readPlain('plain', `k${i}`)).toBeUndefined();
      }
    });
  });

  describe('claims', () => {
    it.each([
      ['a key with rules', user],
      ['a key without', 'plain'],
    ] as const)("on %s are one sidecar's until it gives them back", async (_, on) => {
      const [mine, theirs] = [
        { token: 'mine', ttlMs: 60_000 },
        { token: 'theirs', ttlMs: 60_000 },
      ];
      const both = await Promise.all([store.claim(on, 'k', mine), other.claim(on, 'k', theirs)]);
      expect(both.toSorted()).toEqual(['granted', 'taken']);
      const [holder, loser] = both[0] === 'granted' ? ['mine', 'theirs'] : ['theirs', 'mine'];
      expect(await store.claim(on, 'another', mine)).toBe('granted');
      expect(await store.claim(order, 'k', mine)).toBe('granted');
      expect(await store.release(on, 'k', loser)).toBe('gone');
      expect(await other.claim(on, 'k', { token: loser, ttlMs: 60_000 })).toBe('taken');
      expect(await other.claim(on, 'k', { token: holder, ttlMs: 60_000 })).toBe('taken');
      expect(await store.release(on, 'k', holder)).toBe('released');
      expect(await store.release(on, 'k', holder)).toBe('gone');
      expect(await other.claim(on, 'k', { token: loser, ttlMs: 60_000 })).toBe('granted');
    });

    it('end with their time, and are not taken back from whoever has them then', async () => {
      expect(await store.claim(user, 'k', { token: 'a', ttlMs: 20 })).toBe('granted');
      await eventually(async () => {
        expect(await other.claim(user, 'k', { token: 'b', ttlMs: 60_000 })).toBe('granted');
      });
      expect(await store.release(user, 'k', 'a')).toBe('gone');
      expect(await store.claim(user, 'k', { token: 'c', ttlMs: 60_000 })).toBe('taken');
    });

    it('are no entries', async () => {
      await store.claim(user, 'k', { token: 'a', ttlMs: 60_000 });
      await store.claim('plain', 'k', { token: 'a', ttlMs: 60_000 });
      expect(await read('k')).toBeUndefined();
      expect(await other.readPlain('plain', 'k')).toBeUndefined();
    });
  });

  it('a backend that is silent is waited for no longer than the deadline, and used again when it answers', async () => {
    await store.fill(user, 'k', entryOf());
    const calls: (() => Promise<unknown>)[] = [
      () => store.read(user, 'k'),
      () => store.fill(user, 'k', entryOf({ asOf: 2001, body: textOf(200_000) })),
      () => store.readPlain('plain', 'k'),
      () => store.writePlain('plain', 'k', entryOf()),
      () => store.deletePlain('plain', 'another'),
      () => store.claim(user, 'k', { token: 'a', ttlMs: 1000 }),
      () => store.release(user, 'k', 'a'),
    ];
    world.pause();
    try {
      // Not twice the deadline, which two waits after each other would take; packing comes before it.
      const answers = Promise.all(calls.map((call) => call()));
      expect(new Set(await beforeTimer(answers, 1.5 * DEADLINE_MS))).toEqual(new Set(['away']));
    } finally {
      world.resume();
    }
    await eventually(async () => expect(await read('k')).toBeDefined());
    expect(store.available).toBe(true);
  });

  besides(() => ({ world, store, other, read, expectSame }));
}
