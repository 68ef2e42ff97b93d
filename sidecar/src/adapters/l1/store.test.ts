import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseConfig, type Entry, type NamespaceConfig } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Lru } from './lru.ts';
import { MemoryStore } from './store.ts';

function entry(more: Partial<Entry> = {}): Entry {
  const texts = { contentType: 'text/plain', etag: '"e"', tags: [] };
  return {
    asOf: 1,
    epoch: 1,
    storedAtMs: 0,
    freshUntilMs: 1,
    expiresAtMs: 1,
    keepUntilMs: 1,
    loadMs: 0,
    absent: false,
    ...texts,
    body: new Uint8Array(100),
    ...more,
  };
}

it('[I13] a tag of very many entries takes everything at once', () => {
  const store = new MemoryStore({ maxBytes: 2 ** 30, policy: new Lru() });
  const fill = (count: number): void => {
    for (let i = 0; i < count; i++) store.set(`k${i}`, entry({ tags: ['many'], body: new Uint8Array(0) }));
    store.set('other', entry());
  };
  fill(20_000);
  expect([store.deleteTag('many'), store.entries]).toEqual([20_000, 1]);
  fill(20_001);
  expect([store.deleteTag('many'), store.entries, store.deleteTag('many')]).toEqual([20_002, 0, 0]);
});

describe('entries', () => {
  it('are pushed out by use, the longest unused first', () => {
    const store = new MemoryStore({ maxBytes: 3 * 1000, policy: new Lru() });
    for (const key of ['a', 'b', 'c']) store.set(key, entry());
    store.get('a');
    store.set('d', entry());
    expect(['a', 'b', 'c', 'd'].map((key) => store.get(key) !== undefined)).toEqual([true, false, true, true]);
    expect([store.entries, store.displaced.bytes]).toEqual([3, 1]);
  });

  it('of the largest value that a namespace takes by default are held, tags and all, in the smallest memory', () => {
    const namespaces = { a: { source: 'main', invalidation: 'ttl_only', l1: { maxBytes: '64KiB' } } };
    const parsed = parseConfig({ sources: { main: { topic: 't' } }, namespaces });
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
    const { l1, maxItemBytes } = parsed.config.namespaces['a'] as NamespaceConfig;
    const store = new MemoryStore({ ...l1, policy: new Lru() });
    const tags = Array.from({ length: 5 }, (_, i) => `${i}`.repeat(40));
    expect(store.set('k'.repeat(1_000), entry({ body: new Uint8Array(maxItemBytes), tags }))).toBe(true);
  });

  it('that are larger than everything are not held, and what was there goes', () => {
    const store = new MemoryStore({ maxBytes: 2000, policy: new Lru() });
    store.set('a', entry({ tags: ['t'] }));
    expect(store.set('a', entry({ body: new Uint8Array(3000) }))).toBe(false);
    expect([store.entries, store.bytes, store.deleteTag('t')]).toEqual([0, 0, 0]);
  });

  it('count each text and byte', () => {
    const bytesOf = (more: Partial<Entry>, key = 'k'): number => {
      const store = new MemoryStore({ maxBytes: 1e6, policy: new Lru() });
      store.set(key, entry(more));
      return store.bytes;
    };
    const plain = bytesOf({});
    expect(bytesOf({ body: new Uint8Array(150) })).toBe(plain + 50);
    expect(bytesOf({}, 'kü')).toBe(plain + 2);
    expect(bytesOf({ tags: ['abc'] })).toBeGreaterThan(plain + 3);
  });
});

it('agrees with a plain map, whatever is set, evicted, tagged and displaced', () => {
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const tags = fc.uniqueArray(fc.constantFrom('x', 'y', 'z'));
  type Command =
    | { do: 'set'; key: string; tags: readonly string[]; size: number }
    | { do: 'get'; key: string }
    | { do: 'delete'; key: string }
    | { do: 'tag'; tag: string }
    | { do: 'clear' };
  const command: fc.Arbitrary<Command> = fc.oneof(
    fc.record({ do: fc.constant('set' as const), key, tags, size: fc.nat({ max: 1500 }) }),
    fc.record({ do: fc.constant('get' as const), key }),
    fc.record({ do: fc.constant('delete' as const), key }),
    fc.record({ do: fc.constant('tag' as const), tag: fc.constantFrom('x', 'y', 'z') }),
    fc.constant({ do: 'clear' as const }),
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const store = new MemoryStore({ maxBytes: 8000, policy: new Lru() });
      const map = new Map<string, Entry>();
      // What the store.displaced.bytes is gone from the map too; it may displace only when it is full.
      const forget = (): void => {
        for (const each of map.keys()) if (store.get(each) === undefined) map.delete(each);
      };
      for (const each of commands) {
        if (each.do === 'set') {
          const value = entry({ tags: each.tags, body: new Uint8Array(each.size) });
          store.set(each.key, value);
          map.set(each.key, value);
          const before = store.displaced.bytes;
          if (before > 0) forget();
        } else if (each.do === 'get') expect(store.get(each.key)).toBe(map.get(each.key));
        else if (each.do === 'delete') expect(store.delete(each.key)).toBe(map.delete(each.key) ? 1 : 0);
        else if (each.do === 'clear') {
          expect(store.clear()).toBe(map.size);
          map.clear();
        } else {
          const tagged = [...map].filter(([, value]) => value.tags.includes(each.tag));
          expect(store.deleteTag(each.tag)).toBe(tagged.length);
          for (const [name] of tagged) map.delete(name);
        }
        expect([store.entries, store.bytes <= store.maxBytes]).toEqual([map.size, true]);
        if (map.size === 0) expect(store.bytes).toBe(0);
      }
    }),
  );
});

it('counts no less than V8 says that the entries occupy, and not much more', () => {
  // In a process of its own, where nothing else allocates.
  const script = `
    import { MemoryStore } from ${JSON.stringify(fileURLToPath(new URL('./store.ts', import.meta.url)))};
    import { Lru } from ${JSON.stringify(fileURLToPath(new URL('./lru.ts', import.meta.url)))};
    const kept = [];
    const measure = (size, tags) => {
      const used = () => { gc(); gc(); const { heapUsed, arrayBuffers } = process.memoryUsage(); return heapUsed + arrayBuffers; };
      const store = new MemoryStore({ maxBytes: 1e9, policy: new Lru() });
      kept.push(store);
      const before = used();
      for (let i = 0; i < 20_000; i++) {
        const text = (word) => Buffer.from(word + i).toString();
        store.set(text('key:'), { asOf: 1000 + i, epoch: 1, storedAtMs: 1.7e12 + i, freshUntilMs: 1.8e12 + i, expiresAtMs: 1.8e12 + i, keepUntilMs: 1.8e12 + i, loadMs: 0, absent: false, contentType: 'text/plain',
          etag: text('"0123456789abcdefg'), tags: Array.from({ length: tags }, (_, n) => text('tag' + n + ':')), body: Buffer.allocUnsafeSlow(size) });
      }
      return store.bytes / (used() - before);
    };
    console.log(JSON.stringify([[100, 0], [1024, 0], [4096, 0], [1024, 1], [1024, 4]].map(([size, tags]) => measure(size, tags))));
  `;
  const args = ['--expose-gc', '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script];
  const ratios = JSON.parse(execFileSync(process.execPath, args).toString()) as number[];
  for (const ratio of ratios) {
    expect(ratio).toBeGreaterThan(1);
    // V8's own records of buffers are in no figure of its; they are in the resident memory.
    expect(ratio).toBeLessThan(1.5);
  }
});
