import type { L1Policy } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { anEntry } from '../../testing/entries.ts';
import { Dice } from '../../testing/random.ts';
import { createPolicy } from './policies.ts';
import { MemoryStore } from './store.ts';

function storeOf(policy: L1Policy, maxEntries: number): MemoryStore {
  const dice = new Dice(1);
  return new MemoryStore({ maxBytes: 2 ** 30, maxEntries, policy: createPolicy(policy, () => dice.fraction()) });
}

const ranked = (store: MemoryStore): string => [...store.recent(Infinity)].map(([key]) => key).join('');

/** Keys that are still there, in their order. */
const left = (store: MemoryStore): string => ranked(store).split('').toSorted().join('');

it('lru gives up what was not used for the longest time; to store is to use', () => {
  const store = storeOf('lru', 3);
  for (const key of 'abc') store.set(key, anEntry());
  store.get('a');
  store.set('b', anEntry());
  expect(ranked(store)).toBe('bac');
  store.set('d', anEntry());
  expect(ranked(store)).toBe('dba');
});

it('fifo gives up what was stored longest ago, whoever used it', () => {
  const store = storeOf('fifo', 3);
  for (const key of 'abc') store.set(key, anEntry());
  store.set('a', anEntry());
  store.get('b');
  store.set('d', anEntry());
  expect(ranked(store)).toBe('dac');
});

it('random gives up each of them about as often as any other', () => {
  const gone = new Map<string, number>();
  const store = storeOf('random', 10);
  const all = 'abcdefghij';
  for (let round = 0; round < 5_000; round++) {
    store.clear();
    for (const key of `${all}z`) store.set(key, anEntry());
    for (const key of `${all}z`) if (store.get(key) === undefined) gone.set(key, (gone.get(key) ?? 0) + 1);
  }
  expect(gone.size).toBe(11);
  for (const count of gone.values()) expect(Math.abs(count - 5_000 / 11)).toBeLessThan(100);
});

it('ttl gives up what expires first, also after values took the place of others', () => {
  const store = storeOf('ttl', 4);
  const set = (key: string, expiresAtMs: number): boolean => store.set(key, anEntry({ expiresAtMs }));
  for (const [key, at] of Object.entries({ a: 50, b: 20, c: 40, d: 30 })) set(key, at);
  set('b', 60);
  set('e', 45);
  expect(left(store)).toBe('abce');
  store.delete('a');
  set('f', 70);
  set('g', 41);
  expect(left(store)).toBe('befg');
  expect(set('h', 1)).toBe(false);
  expect(left(store)).toBe('befg');
});

describe('lfu', () => {
  it('keeps what is asked for often when many keys pass that nobody asks for again', () => {
    const store = storeOf('lfu', 100);
    const often = Array.from({ length: 50 }, (_, i) => `often${i}`);
    const hitsOf = (): number => often.filter((key) => store.get(key) !== undefined).length;
    for (let round = 0; round < 4; round++)
      for (const key of often) if (store.get(key) === undefined) store.set(key, anEntry());
    for (let i = 0; i < 1_000; i++) store.set(`once${i}`, anEntry());
    expect(hitsOf()).toBeGreaterThan(45);
  });

  it('knows what was asked for often after it was invalidated, and after a flush', () => {
    const store = storeOf('lfu', 100);
    const often = Array.from({ length: 50 }, (_, i) => `often${i}`);
    for (const remove of [() => often.forEach((key) => store.delete(key)), () => store.clear()]) {
      for (let round = 0; round < 4; round++)
        for (const key of often) if (store.get(key) === undefined) store.set(key, anEntry());
      remove();
      for (let i = 0; i < 100; i++) store.set(`filler${i}`, anEntry());
      for (const key of often) store.set(key, anEntry());
      for (let i = 0; i < 500; i++) store.set(`once${i}`, anEntry());
      expect(often.filter((key) => store.get(key) !== undefined).length).toBeGreaterThan(45);
    }
  });

  it('takes what is new hot in the end, whatever was hot before', () => {
    const store = storeOf('lfu', 100);
    const ask = (key: string): void => void (store.get(key) ?? store.set(key, anEntry()));
    for (let i = 0; i < 10_000; i++) ask(`old${i % 80}`);
    for (let i = 0; i < 10_000; i++) ask(`new${i % 80}`);
    const there = Array.from({ length: 80 }, (_, i) => store.get(`new${i}`) !== undefined);
    expect(there.filter(Boolean).length).toBe(80);
  });
});
