import { L1_POLICIES, type L1Policy } from '@tidemark/proto';
import { equal } from 'node:assert/strict';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { anEntry } from '../../testing/entries.ts';
import { Dice } from '../../testing/random.ts';
import { Budget } from './budget.ts';
import { createPolicy } from './policies.ts';
import { sizeOf } from './size.ts';
import { MemoryStore } from './store.ts';

function storeOf(budget: Budget, maxBytes: number, policy: L1Policy = 'lru'): MemoryStore {
  const dice = new Dice(1);
  return new MemoryStore({ maxBytes, budget, policy: createPolicy(policy, () => dice.fraction()) });
}

function fill(store: MemoryStore, name: string, count: number): void {
  for (let i = 0; i < count; i++) store.set(`${name}${String(i).padStart(4, '0')}`, anEntry());
}

const SIZE = sizeOf('a0000', anEntry());

// Stores by the weight that each has, and what is put into which of them.
const weights = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 2, maxLength: 5 });
const policies = fc.array(fc.constantFrom(...L1_POLICIES), {
  minLength: 5,
  maxLength: 5,
});
const puts = fc.array(fc.record({ store: fc.nat(), key: fc.nat({ max: 30 }), size: fc.nat({ max: 900 }) }), {
  maxLength: 300,
});
const limits = fc.oneof(
  fc.record({ maxBytes: fc.integer({ min: 5_000, max: 40_000 }) }),
  fc.record({ maxEntries: fc.integer({ min: 1, max: 40 }) }),
);
function nobodyStarves() {
  return fc.property(weights, policies, limits, puts, (of, policy, total, commands) => {
    const budget = new Budget(total);
    const stores = of.map((weight, i) => storeOf(budget, weight * 10_000, policy[i]));
    const sum = of.reduce((all, weight) => all + weight, 0);
    for (const { store: n, key, size } of commands) {
      const before = stores.map(({ bytes, entries }) => ({ bytes, entries }));
      const displaced = stores.map((store) => store.displaced.total_bytes + store.displaced.total_entries);
      const chosen = n % stores.length;
      stores[chosen]?.set(`k${key}`, anEntry({ body: new Uint8Array(size) }));
      stores.forEach((store, i) => {
        if (i === chosen) return;
        const share = (of[i] as number) / sum;
        const { bytes, entries } = before[i] as { bytes: number; entries: number };
        const isWithin = bytes <= share * budget.maxBytes && entries <= share * budget.maxEntries;
        const lost = store.displaced.total_bytes + store.displaced.total_entries - (displaced[i] as number);
        if (isWithin) equal(lost, 0);
      });
    }
  });
}

describe('a budget', () => {
  afterEach(() => void vi.restoreAllMocks());

  it('lends what others do not use, and takes it back when they want it', () => {
    const budget = new Budget({ maxBytes: 100 * SIZE });
    const [a, b] = [storeOf(budget, 100 * SIZE), storeOf(budget, 100 * SIZE)];
    fill(a, 'a', 200);
    expect([a.entries, b.entries]).toEqual([100, 0]);
    fill(b, 'b', 20);
    expect([a.entries, b.entries]).toEqual([80, 20]);
    fill(b, 'c', 200);
    expect([a.entries, b.entries, budget.entries]).toEqual([50, 50, 100]);
    expect([a.displaced.total_bytes, b.displaced.total_bytes]).toEqual([50, 170]);
  });

  it('gives shares by what the namespaces may have', () => {
    const budget = new Budget({ maxEntries: 100 });
    const [a, b] = [storeOf(budget, 2 ** 20), storeOf(budget, 3 * 2 ** 20)];
    fill(a, 'a', 300);
    fill(b, 'b', 300);
    expect([a.entries, b.entries]).toEqual([25, 75]);
    expect(a.displaced.total_entries).toBe(275);
  });

  it('forgets who holds nothing any more', () => {
    const budget = new Budget({ maxBytes: 100 * SIZE });
    const [a, b] = [storeOf(budget, 100 * SIZE), storeOf(budget, 100 * SIZE)];
    fill(a, 'a', 50);
    a.clear();
    fill(b, 'b', 200);
    expect([a.entries, b.entries, budget.bytes]).toEqual([0, 100, 100 * SIZE]);
  });

  it('takes nothing from who is within its share, whatever the others do', () => {
    fc.assert(nobodyStarves(), { numRuns: 500 });
  });

  it('lets everybody have its share at any time, to within an entry', () => {
    fc.assert(
      fc.property(weights, fc.nat(), fc.integer({ min: 20_000, max: 100_000 }), (of, n, maxBytes) => {
        const budget = new Budget({ maxBytes });
        const stores = of.map((weight) => storeOf(budget, weight * 10_000));
        const late = n % stores.length;
        stores.forEach((store, i) => i !== late && fill(store, 'a', 120));
        const store = stores[late] as MemoryStore;
        fill(store, 'b', 120);
        const share = (maxBytes * (of[late] as number)) / of.reduce((all, weight) => all + weight, 0);
        expect(store.bytes).toBeGreaterThan(Math.min(share, store.maxBytes) - SIZE);
      }),
    );
  });

  it('would be seen to starve somebody if it took from the largest, or from who holds the least for its weight', () => {
    const { settle } = Budget.prototype;
    const wrong = (better: (a: MemoryStore, b: MemoryStore) => boolean): void => {
      const known = new WeakMap<Budget, Set<MemoryStore>>();
      vi.spyOn(Budget.prototype, 'changed').mockImplementation(function changed(this: Budget, tenant) {
        known.set(this, (known.get(this) ?? new Set<MemoryStore>()).add(tenant as MemoryStore));
      });
      vi.spyOn(Budget.prototype, 'settle').mockImplementation(function settleWrongly(this: Budget) {
        const stores = [...(known.get(this) ?? [])];
        const over = (): boolean =>
          stores.reduce((all, { bytes }) => all + bytes, 0) > this.maxBytes ||
          stores.reduce((all, { entries }) => all + entries, 0) > this.maxEntries;
        while (over())
          stores
            .filter(({ entries }) => entries > 0)
            .reduce((a, b) => (better(b, a) ? b : a))
            .displace('total_bytes');
      });
    };
    for (const better of [
      (a: MemoryStore, b: MemoryStore) => a.bytes > b.bytes,
      (a: MemoryStore, b: MemoryStore) => a.bytes / a.maxBytes < b.bytes / b.maxBytes,
    ]) {
      wrong(better);
      expect(fc.check(nobodyStarves(), { numRuns: 500, seed: 1, endOnFailure: true }).failed).toBe(true);
      vi.restoreAllMocks();
    }
    expect(Budget.prototype.settle).toBe(settle);
  });
});
