import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fences, FenceTable } from './fences.ts';
import { hash32 } from './hash.ts';

/** What a fence memory would answer with a map of every name. */
class ExactFences {
  readonly #raised = new Map<string, number>();
  highest = 0;

  restart(): void {
    this.#raised.clear();
    this.highest = 0;
  }

  raise(kind: string, namespace: number, name: string, lsn: number): void {
    const id = `${kind} ${namespace} ${name}`;
    this.#raised.set(id, Math.max(lsn, this.#raised.get(id) ?? 0));
    this.highest = Math.max(this.highest, lsn);
  }

  newest(namespace: number, key: string, tags: readonly string[]): number {
    const names = [
      ...Array.from({ length: key.length + 1 }, (_, length) => `prefix ${namespace} ${key.slice(0, length)}`),
      `key ${namespace} ${key}`,
      `namespace ${namespace} `,
      ...tags.map((tag) => `tag ${namespace} ${tag}`),
    ];
    return Math.max(0, ...names.map((id) => this.#raised.get(id) ?? 0));
  }
}

const NAMESPACES = 3;
const namespace = fc.nat(NAMESPACES - 1);
const name = fc.oneof(fc.constantFrom('a', 'ab', 'abc', 'b', 'c', ''), fc.string({ maxLength: 4 }));
const lsn = fc.integer({ min: 1, max: 50 });
const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('key', 'tag', 'prefix'), namespace, name, lsn }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('namespace'), namespace, name: fc.constant(''), lsn }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart'), namespace, name: fc.constant(''), lsn }) },
);
const question = fc.record({ namespace, key: name, tags: fc.array(name, { maxLength: 3 }) });

type Operation = { do: string; namespace: number; name: string; lsn: number };

function run(fences: Fences, exact: ExactFences, step: Operation): void {
  if (step.do === 'restart') {
    fences.restart(step.lsn);
    exact.restart();
    return;
  }
  exact.raise(step.do, step.namespace, step.name, step.lsn);
  if (step.do === 'key') fences.raiseKey(step.namespace, step.name, step.lsn);
  else if (step.do === 'tag') fences.raiseTag(step.namespace, step.name, step.lsn);
  else if (step.do === 'prefix') fences.raisePrefix(step.namespace, step.name, step.lsn);
  else fences.raiseNamespace(step.namespace, step.lsn);
}

describe('Fences', () => {
  it('[I4] a phantom, never a hole: no fence is ever answered older than it was raised, however often names collide', () => {
    const slots = fc.constantFrom(2, 4, 16);
    const trace = fc.array(fc.tuple(operation, question), { maxLength: 60 });
    fc.assert(
      fc.property(slots, slots, fc.integer({ min: 1, max: 4 }), trace, (keySlots, tagSlots, maxPrefixes, steps) => {
        const fences = new Fences({ namespaces: NAMESPACES, keySlots, tagSlots, maxPrefixes });
        const exact = new ExactFences();
        for (const [step, { namespace: asked, key, tags }] of steps) {
          run(fences, exact, step);
          const answer = fences.newest(asked, key, tags);
          expect(answer).toBeGreaterThanOrEqual(exact.newest(asked, key, tags));
          expect(answer).toBeLessThanOrEqual(exact.highest);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('[I4] fences only grow until a restart', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), question, (steps, { namespace: asked, key, tags }) => {
        const fences = new Fences({ namespaces: NAMESPACES, keySlots: 4, tagSlots: 4, maxPrefixes: 2 });
        let before = 0;
        for (const step of steps) {
          run(fences, new ExactFences(), step);
          const now = fences.newest(asked, key, tags);
          if (step.do !== 'restart') expect(now).toBeGreaterThanOrEqual(before);
          before = now;
        }
      }),
    );
  });

  it('is exact while no two names share a slot', () => {
    const names = ['a', 'ab', 'b', 'ba'];
    const slots = 2 ** 16;
    const used = [0, 1, 2].flatMap((index) => names.map((text) => hash32(index, text) & (slots - 1)));
    expect(new Set(used).size).toBe(used.length);
    const plain = fc.record({
      do: fc.constantFrom('key', 'tag', 'prefix', 'namespace', 'restart'),
      namespace,
      name: fc.constantFrom(...names),
      lsn,
    });
    const ask = fc.record({ namespace, key: fc.constantFrom(...names), tags: fc.subarray(names) });
    fc.assert(
      fc.property(fc.array(plain, { maxLength: 20 }), ask, (steps, { namespace: asked, key, tags }) => {
        const fences = new Fences({ namespaces: NAMESPACES, keySlots: slots, tagSlots: slots });
        const exact = new ExactFences();
        for (const step of steps) run(fences, exact, step.do === 'namespace' ? { ...step, name: '' } : step);
        expect(fences.newest(asked, key, tags)).toBe(exact.newest(asked, key, tags));
      }),
      { numRuns: 50 },
    );
  });

  it('beyond a number of prefixes the oldest of them, and no newer one, fences the whole namespace', () => {
    const fences = new Fences({ namespaces: 1, maxPrefixes: 2 });
    fences.raisePrefix(0, 'b:', 20);
    fences.raisePrefix(0, 'a:', 10);
    expect([fences.newest(0, 'a:1', []), fences.newest(0, 'b:1', []), fences.newest(0, 'c:1', [])]).toEqual([
      10, 20, 0,
    ]);
    fences.raisePrefix(0, 'c:', 30);
    expect([fences.newest(0, 'a:1', []), fences.newest(0, 'b:1', []), fences.newest(0, 'c:1', [])]).toEqual([
      10, 20, 30,
    ]);
    expect(fences.newest(0, 'd', [])).toBe(10);
  });

  it('a prefix takes the place of longer ones that are not newer', () => {
    const fences = new Fences({ namespaces: 1, maxPrefixes: 2 });
    for (let i = 0; i < 100; i++) fences.raisePrefix(0, `a:${i % 7}`, i);
    fences.restart(0);
    for (let i = 1; i <= 100; i++) fences.raisePrefix(0, i % 2 === 0 ? 'a:' : `a:${i}`, i);
    expect([fences.newest(0, 'a:1', []), fences.newest(0, 'b', [])]).toEqual([100, 0]);
  });

  it('[I4] a restart forgets everything and sets the horizon below which nothing is known', () => {
    const fences = new Fences({ namespaces: 2 });
    expect(fences.horizon).toBe(0);
    fences.raiseKey(0, 'k', 10);
    fences.raiseTag(0, 't', 11);
    fences.raiseNamespace(1, 12);
    expect([fences.newest(0, 'k', []), fences.newest(0, 'x', ['t']), fences.newest(1, 'x', [])]).toEqual([10, 11, 12]);
    fences.restart(20);
    expect(fences.horizon).toBe(20);
    expect([fences.newest(0, 'k', ['t']), fences.newest(1, 'x', [])]).toEqual([0, 0]);
  });

  it('[I4] a namespace that was never announced is fenced for ever', () => {
    const fences = new Fences({ namespaces: 1 });
    fences.raiseNamespace(1, 5);
    expect(fences.newest(1, 'k', [])).toBe(Number.POSITIVE_INFINITY);
    expect(fences.newest(0, 'k', [])).toBe(0);
  });
});

describe('FenceTable', () => {
  it.each([0, 1, 3, 6, 2.5, -4, 2 ** 31, Number.NaN])('refuses %d slots', (slots) => {
    expect(() => new FenceTable(slots)).toThrow(/power of two/);
  });
});
