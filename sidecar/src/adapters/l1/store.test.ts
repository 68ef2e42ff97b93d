import { L1_POLICIES, parseConfig, type Entry, type L1Policy, type NamespaceConfig } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { anEntry } from '../../testing/entries.ts';
import { Dice } from '../../testing/random.ts';
import { Budget } from './budget.ts';
import { createPolicy } from './policies.ts';
import { sizeOf } from './size.ts';
import { MemoryStore } from './store.ts';

function storeOf(policy: L1Policy, limits: { maxBytes?: number; maxEntries?: number; budget?: Budget }): MemoryStore {
  const dice = new Dice(1);
  return new MemoryStore({ maxBytes: 2 ** 30, ...limits, policy: createPolicy(policy, () => dice.fraction()) });
}

const held = (store: MemoryStore): string[] => [...store.recent(Infinity)].map(([key]) => key).toSorted();

describe.each(L1_POLICIES)('with the policy %s', (policy) => {
  it('[I13] a tag of very many entries takes everything at once', () => {
    const store = storeOf(policy, {});
    const fill = (count: number): void => {
      for (let i = 0; i < count; i++) store.set(`k${i}`, anEntry({ tags: ['many'], body: new Uint8Array(0) }));
      store.set('other', anEntry());
    };
    fill(20_000);
    expect([store.deleteTag('many'), store.entries]).toEqual([20_000, 1]);
    fill(20_001);
    expect([store.deleteTag('many'), store.entries, store.deleteTag('many')]).toEqual([20_002, 0, 0]);
  });

  it('[I13] so does one whose entries have very many tags together; what goes one by one is counted in steps', () => {
    const store = storeOf(policy, {});
    const fill = (count: number): void => {
      for (let i = 0; i < count; i++) {
        const tags = ['many', ...Array.from({ length: 49 }, (_, n) => `${n}:${i}`)];
        store.set(`k${i}`, anEntry({ tags, body: new Uint8Array(0) }));
      }
      store.set('other', anEntry());
    };
    fill(2_000);
    expect([store.deleteTag('many'), store.entries, store.steps]).toEqual([2_000, 1, 2_000 * 51]);
    fill(2_001);
    expect([store.deleteTag('many'), store.entries, store.steps]).toEqual([2_002, 0, 2_000 * 51]);
  });

  it('what is deleted, by name, by tag or with everything, is gone and takes no room', () => {
    const store = storeOf(policy, {});
    for (const key of ['a', 'b', 'c', 'd']) store.set(key, anEntry({ tags: key < 'c' ? ['t'] : [] }));
    expect([store.delete('c'), store.delete('c'), store.get('c')]).toEqual([1, 0, undefined]);
    expect([store.deleteTag('t'), store.deleteTag('t'), held(store)]).toEqual([2, 0, ['d']]);
    expect([store.clear(), store.clear(), store.bytes, store.entries]).toEqual([1, 0, 0, 0]);
    store.set('a', anEntry());
    expect([held(store), store.bytes]).toEqual([['a'], sizeOf('a', anEntry())]);
  });

  it('an entry that is larger than everything is not held, and what was there goes', () => {
    for (const limits of [{ maxBytes: 2000 }, { budget: new Budget({ maxBytes: 2000 }) }]) {
      const store = storeOf(policy, limits);
      store.set('a', anEntry({ tags: ['t'] }));
      expect(store.set('a', anEntry({ body: new Uint8Array(3000) }))).toBe(false);
      expect([store.entries, store.bytes, store.deleteTag('t')]).toEqual([0, 0, 0]);
      expect(store.displaced).toEqual({ bytes: 0, entries: 0, total_bytes: 0, total_entries: 0 });
    }
  });

  it('there are never more bytes or entries than its limits say, and what goes is counted by the limit', () => {
    const size = sizeOf('k00', anEntry());
    const cases = [
      ['bytes', { maxBytes: 10 * size + 1 }],
      ['entries', { maxEntries: 10 }],
      ['total_bytes', { budget: new Budget({ maxBytes: 10 * size + 1 }) }],
      ['total_entries', { budget: new Budget({ maxEntries: 10 }) }],
    ] as const;
    for (const [reason, limits] of cases) {
      const store = storeOf(policy, limits);
      for (let i = 10; i < 35; i++) store.set(`k${i}`, anEntry());
      expect([store.entries, store.bytes, store.displaced[reason]]).toEqual([10, 10 * size, 15]);
      expect(held(store)).toHaveLength(10);
    }
  });

  it('another value takes the place of the one before, its tags and its size too', () => {
    const store = storeOf(policy, {});
    store.set('a', anEntry({ tags: ['x', 'y'] }));
    const next = anEntry({ tags: ['y', 'z'], body: new Uint8Array(500) });
    expect([store.set('a', next), store.get('a') === next, store.bytes]).toEqual([true, true, sizeOf('a', next)]);
    expect([...store.tagged('x', 10)]).toEqual([]);
    expect([...store.tagged('y', 10)]).toEqual([['a', next]]);
    expect([store.deleteTag('x'), store.deleteTag('z'), store.entries]).toEqual([0, 1, 0]);
  });

  it('tells as many entries as it is asked for, of all or of a tag, and no entry twice', () => {
    const store = storeOf(policy, {});
    for (let i = 0; i < 9; i++) store.set(`k${i}`, anEntry({ tags: ['t'] }));
    for (const tell of [(most: number) => store.recent(most), (most: number) => store.tagged('t', most)])
      expect([0, 4, 20].map((most) => new Set([...tell(most)].map(([key]) => key)).size)).toEqual([0, 4, 9]);
  });
});

describe('sizes', () => {
  it('of the largest value that a namespace takes by default fit, tags and all, into the smallest memory', () => {
    const namespaces = { a: { source: 'main', invalidation: 'ttl_only', l1: { maxBytes: '64KiB' } } };
    const parsed = parseConfig({ sources: { main: { topic: 't' } }, namespaces });
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
    const { l1, maxItemBytes } = parsed.config.namespaces['a'] as NamespaceConfig;
    const store = storeOf(l1.policy, { maxBytes: l1.maxBytes });
    const tags = Array.from({ length: 5 }, (_, i) => `${i}`.repeat(40));
    expect(store.set('k'.repeat(1_000), anEntry({ body: new Uint8Array(maxItemBytes), tags }))).toBe(true);
  });

  it('count each text and byte', () => {
    const bytesOf = (more: Partial<Entry>, key = 'k'): number => sizeOf(key, anEntry(more));
    const plain = bytesOf({});
    expect(bytesOf({ body: new Uint8Array(150) })).toBe(plain + 50);
    expect(bytesOf({}, 'kü')).toBe(plain + 2);
    expect(bytesOf({ tags: ['abc'] })).toBeGreaterThan(plain + 3);
  });
});
