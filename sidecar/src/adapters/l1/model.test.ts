import { L1_POLICIES, type Entry, type L1Policy } from '@tidemark/proto';
import { deepStrictEqual as same, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { anEntry } from '../../testing/entries.ts';
import { Dice } from '../../testing/random.ts';
import { Budget } from './budget.ts';
import { List } from './list.ts';
import { Queue } from './queue.ts';
import { createPolicy } from './policies.ts';
import { RandomChoice } from './random.ts';
import { sizeOf } from './size.ts';
import { MemoryStore } from './store.ts';
import { TagIndex } from './tag-index.ts';
import { TtlFirst } from './ttl-first.ts';
import { WTinyLfu } from './w-tiny-lfu.ts';

const TAGS = ['x', 'y', 'z'];

interface Settings {
  readonly policy: L1Policy;
  readonly maxBytes: number;
  readonly maxEntries: number | undefined;
}

type Command = { readonly store: number } & (
  | { readonly do: 'set'; key: string; tags: readonly string[]; size: number; expiresAtMs: number }
  | { readonly do: 'get' | 'delete' | 'restate'; key: string }
  | { readonly do: 'tag'; tag: string }
  | { readonly do: 'clear' }
);

const settings: fc.Arbitrary<Settings> = fc.record({
  policy: fc.constantFrom(...L1_POLICIES),
  maxBytes: fc.integer({ min: 3_000, max: 12_000 }),
  maxEntries: fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
});
const totals = fc.record({
  maxBytes: fc.option(fc.integer({ min: 2_500, max: 20_000 }), { nil: undefined }),
  maxEntries: fc.option(fc.integer({ min: 1, max: 15 }), { nil: undefined }),
});
const store = fc.nat({ max: 2 });
const key = fc.constantFrom(...'abcdefghijkl'.split(''));
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      ...{ do: fc.constant('set' as const), store, key, tags: fc.uniqueArray(fc.constantFrom(...TAGS)) },
      size: fc.nat({ max: 3_000 }),
      expiresAtMs: fc.nat({ max: 20 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('get' as const), store, key }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('delete' as const, 'restate' as const), store, key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('tag' as const), store, tag: fc.constantFrom(...TAGS) }) },
  fc.record({ do: fc.constant('clear' as const), store }),
);

/** A store beside what was put into it and not taken out again; what is there may be less, if there was no room. */
class Twin {
  readonly store: MemoryStore;
  readonly #settings: Settings;
  readonly #budget: Budget;
  #entries = new Map<string, Entry>();
  #displaced = 0;

  constructor(of: Settings, budget: Budget) {
    const dice = new Dice(1);
    this.#settings = of;
    this.#budget = budget;
    this.store = new MemoryStore({ ...of, budget, policy: createPolicy(of.policy, () => dice.fraction()) });
  }

  run(each: Command): void {
    switch (each.do) {
      case 'set': {
        const { key: name, tags, expiresAtMs } = each;
        const entry = anEntry({ tags, expiresAtMs, body: new Uint8Array(each.size) });
        const isHeld = this.store.set(name, entry);
        if (sizeOf(name, entry) > Math.min(this.store.maxBytes, this.#budget.maxBytes)) this.#entries.delete(name);
        else this.#entries.set(name, entry);
        same(isHeld, this.held().get(name) === entry);
        return;
      }
      case 'get':
        ok(this.store.get(each.key) === this.#entries.get(each.key));
        return;
      case 'restate': {
        const [before, order] = [this.#entries.get(each.key), [...this.held().keys()]];
        const after = anEntry({ ...before, asOf: 77 });
        this.store.restate(each.key, { before: anEntry(), after });
        if (before !== undefined) {
          this.store.restate(each.key, { before, after });
          this.#entries.set(each.key, after);
        }
        same([...this.held().keys()], order);
        return;
      }
      case 'delete':
        same(this.store.delete(each.key), this.#entries.delete(each.key) ? 1 : 0);
        return;
      case 'clear':
        same(this.store.clear(), this.#entries.size);
        this.#entries.clear();
        return;
      case 'tag': {
        const tagged = this.#tagged(each.tag);
        same(this.store.deleteTag(each.tag), tagged.length);
        for (const name of tagged) this.#entries.delete(name);
      }
    }
  }

  /** What is there, without a use of any of it. */
  held(): Map<string, Entry> {
    return new Map(this.store.recent(Infinity));
  }

  /** Must hold after every command, of whichever store: others may have lost something to its budget. */
  check(): void {
    const held = this.held();
    const gone = [...this.#entries.keys()].filter((name) => !held.has(name));
    const displaced = Object.values(this.store.displaced).reduce((sum, count) => sum + count, 0);
    same(displaced - this.#displaced, gone.length);
    this.#displaced = displaced;
    for (const name of gone) this.#entries.delete(name);
    same(held, this.#entries);
    for (const [name, entry] of held) ok(entry === this.#entries.get(name));
    const bytes = [...held].reduce((sum, [name, entry]) => sum + sizeOf(name, entry), 0);
    same([this.store.bytes, this.store.entries], [bytes, held.size]);
    ok(bytes <= this.#settings.maxBytes);
    ok(held.size <= (this.#settings.maxEntries ?? Infinity));
    for (const tag of TAGS)
      same([...this.store.tagged(tag, Infinity)].map(([name]) => name).toSorted(), this.#tagged(tag));
  }

  #tagged(tag: string): string[] {
    return [...this.#entries].flatMap(([name, { tags }]) => (tags.includes(tag) ? [name] : [])).toSorted();
  }
}

function theModel() {
  return fc.property(
    fc.tuple(settings, settings, settings),
    totals,
    fc.array(command, { maxLength: 80 }),
    (each, limits, commands) => {
      const budget = new Budget(limits);
      const twins = each.map((of) => new Twin(of, budget));
      for (const next of commands) {
        twins[next.store]?.run(next);
        for (const twin of twins) twin.check();
        const sum = (what: 'bytes' | 'entries'): number => twins.reduce((total, twin) => total + twin.store[what], 0);
        same([budget.bytes, budget.entries], [sum('bytes'), sum('entries')]);
        ok(budget.bytes <= budget.maxBytes && budget.entries <= budget.maxEntries);
      }
    },
  );
}

describe('stores of any policy that share a budget', () => {
  afterEach(() => void vi.restoreAllMocks());

  it('hold nothing but what was put in, within all limits, and lose account of nothing', () => {
    fc.assert(theModel(), { numRuns: 400 });
  });

  const nothing = (): void => undefined;
  it.each<[mistake: string, plant: () => void]>([
    ['lru forgets to let go', () => vi.spyOn(Queue.prototype, 'removed').mockImplementation(nothing)],
    ['lru forgets nothing at a flush', () => vi.spyOn(Queue.prototype, 'clear').mockImplementation(nothing)],
    ['lfu forgets nothing at a flush', () => vi.spyOn(WTinyLfu.prototype, 'clear').mockImplementation(nothing)],
    ['random forgets to let go', () => vi.spyOn(RandomChoice.prototype, 'removed').mockImplementation(nothing)],
    ['the heap forgets to let go', () => vi.spyOn(TtlFirst.prototype, 'removed').mockImplementation(nothing)],
    ['a list unlinks nothing', () => vi.spyOn(List.prototype, 'remove').mockImplementation(nothing)],
    ['tags keep what went', () => vi.spyOn(TagIndex.prototype, 'unlink').mockImplementation(nothing)],
    ['tags find nothing', () => vi.spyOn(TagIndex.prototype, 'link').mockImplementation(nothing)],
    ['nobody looks at the total', () => vi.spyOn(Budget.prototype, 'settle').mockImplementation(nothing)],
    ['the budget counts nothing', () => vi.spyOn(Budget.prototype, 'changed').mockImplementation(nothing)],
    [
      'the budget takes from nobody',
      () =>
        vi.spyOn(MemoryStore.prototype, 'displace').mockImplementation(() => {
          throw new Error('nothing to take');
        }),
    ],
  ])('the model notices that %s', (_, plant) => {
    plant();
    expect(fc.check(theModel(), { numRuns: 400, seed: 1, endOnFailure: true }).failed).toBe(true);
  });
});
