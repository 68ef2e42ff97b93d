import type { Entry } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import type { Stores } from './suite.ts';
import { entryOf, noiseOf, textOf, user } from './world.ts';

/** What an L2 with a fence log does besides. */
export function logContract(of: () => Stores): void {
  const parts = () => {
    const { world } = of();
    const { invalidate } = world;
    if (invalidate === undefined) throw new Error('this world has no log');
    return { ...of(), invalidate };
  };

  describe('invalidations', () => {
    it('[I7] delete what they name, and keep it from coming back from before', async () => {
      const { store, other, read, invalidate } = parts();
      for (const [key, tags] of [
        ['key', []],
        ['tag', ['x', 't']],
        ['stays', ['x']],
      ] as const)
        expect(await store.fill(user, key, entryOf({ tags, body: noiseOf(100_000) }))).toBe('ok');
      await invalidate(3000, { keys: ['key'], tags: ['t'] });
      expect([await read('key'), await read('tag')]).toEqual([undefined, undefined]);
      expect(await read('stays')).toBeDefined();
      expect(await other.fill(user, 'key', entryOf({ asOf: 2999 }))).toBe('fenced');
      expect(await other.fill(user, 'new', entryOf({ asOf: 2999, tags: ['t'] }))).toBe('fenced');
      expect(await other.fill(user, 'key', entryOf({ asOf: 3000 }))).toBe('ok');
      expect(await other.fill(user, 'new', entryOf({ asOf: 3000, tags: ['t'] }))).toBe('ok');
      await invalidate(4000, { all: true });
      expect(await other.fill(user, 'key', entryOf({ asOf: 3999 }))).toBe('fenced');
    });

    it('[I12] are what a promotion takes an entry past, if none of them names it', async () => {
      const { world, store, other, read, invalidate, expectSame } = parts();
      for (const [name, body] of [
        ['small', Buffer.from('value')],
        ['text', textOf(5000)],
        ['noise', noiseOf(200_000)],
      ] as const)
        await store.fill(user, name, entryOf({ tags: ['t', 'ü'], body }));
      await invalidate(3000, { tags: ['other'] });
      for (const name of ['small', 'text', 'noise']) {
        const seen = await other.read(user, name);
        if (typeof seen === 'string' || seen.context === undefined) throw new Error('expected an entry under a log');
        expect(await other.promote(user, name, seen, 3000)).toBe('ok');
        const found = await read(name, store);
        expectSame(found, { ...(seen.entry as Entry), asOf: 3000 });
        expect(await world.ttlMs(name)).toBeLessThanOrEqual(90_000);
        expect(await other.promote(user, name, seen, 3000)).toBe('changed');
      }
      await invalidate(4000, { tags: ['t'] });
      const late = await read('small', store);
      expect(late).toBeUndefined();
    });
  });
}
