import { compileRules, encodeBatch, Op, TableChangesBuilder } from '@tidemark/proto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SourceReplica } from './replica.ts';

// SPEC I13 in the sidecar: with a bound on the names of one record, never less is evicted or fenced than without.

const rules = compileRules([
  { name: 'a', source: 'main', rules: [{ table: 'public.t', keys: ['{id}', 'k:{id}'], tags: ['t:{id}'] }] },
  { name: 'b', source: 'main', rules: [{ table: 'public.u', keys: ['{id}'], tags: [] }] },
]);
const IDS = Array.from({ length: 12 }, (_, i) => String(i));

interface Seen {
  readonly replica: SourceReplica;
  /** What was evicted, `*` for a whole namespace. */
  readonly evicted: Set<string>;
  calls: number;
}

/** @param steps that each tag says it took */
function replicaWith(maxNames: number, steps = 0): Seen {
  const evicted = new Set<string>();
  const seen: Seen = {
    evicted,
    calls: 0,
    replica: new SourceReplica({
      rules,
      maxStalenessMs: 1000,
      maxNames,
      evict: {
        mark: () => undefined,
        key: ({ name }, key) => (evicted.add(`${name}/${key}`), (seen.calls += 1), 0),
        tag: ({ name }, tag) => (evicted.add(`${name}/tag ${tag}`), (seen.calls += 1), steps),
        prefix: ({ name }, prefix) => (evicted.add(`${name}/prefix ${prefix}`), (seen.calls += 1), 0),
        namespace: ({ name }) => void (evicted.add(`${name}/*`), (seen.calls += 1)),
      },
    }),
  };
  seen.replica.observe(recordOf(990, 1000, { t: [], u: [] }));
  evicted.clear();
  seen.calls = 0;
  return seen;
}

function recordOf(from: number, to: number, changed: Readonly<Record<'t' | 'u', readonly string[]>>): Uint8Array {
  const tables = (['t', 'u'] as const).map((table) => {
    const rows = new TableChangesBuilder(['id']);
    for (const [i, id] of changed[table].entries()) rows.add({ op: Op.insert, commit: i % 2, after: [id] });
    return { schema: 'public', table, changes: rows.encode() };
  });
  return encodeBatch({
    ...{
      source: 'main',
      epoch: 1,
      from,
      to,
      visible: to,
      committedAtUs: 0,
      publishedAtUs: 0,
      systemId: 1n,
      timeline: 1,
    },
    ...{ heartbeat: false, covers: rules.namespaces.map(({ hash }) => hash), purges: [], tables },
    commits: [from + 1, from + 2],
  });
}

const ids = fc.array(fc.constantFrom(...IDS), { maxLength: 30 });

it('[I13] a bound on the names of a record evicts and fences more, never less, and ends the work', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ t: ids, u: ids }), { minLength: 1, maxLength: 4 }),
      fc.nat(20),
      (records, most) => {
        const [exact, bounded] = [replicaWith(Number.POSITIVE_INFINITY), replicaWith(most)];
        records.forEach((changed, i) => {
          const record = recordOf(1000 + 10 * i, 1010 + 10 * i, changed);
          for (const each of [exact, bounded]) each.replica.observe(record);
          // Names of each namespace up to the bound, and one flush of each.
          expect(bounded.calls).toBeLessThanOrEqual((i + 1) * 2 * (most + 1));
          expect(bounded.replica.applied).toBe(exact.replica.applied);
          for (const namespace of rules.namespaces) {
            for (const id of IDS) {
              for (const [key, tags] of [
                [id, []],
                [`k:${id}`, [`t:${id}`]],
              ] as const)
                expect(bounded.replica.newestFence(namespace, key, tags)).toBeGreaterThanOrEqual(
                  exact.replica.newestFence(namespace, key, tags),
                );
            }
          }
        });
        for (const name of exact.evicted) {
          const namespace = name.slice(0, name.indexOf('/'));
          expect(bounded.evicted.has(name) || bounded.evicted.has(`${namespace}/*`)).toBe(true);
        }
      },
    ),
  );
});

it('[I13] each record counts for itself', () => {
  const { replica, evicted } = replicaWith(4);
  for (let i = 0; i < 10; i++)
    replica.observe(recordOf(1000 + 10 * i, 1010 + 10 * i, { t: [], u: ['1', '2', '3', '4'] }));
  expect(evicted).toEqual(new Set(['b/1', 'b/2', 'b/3', 'b/4']));
});

it('[I13] what names evict counts as names do, for those that come after them', () => {
  const changed = { t: ['1', '2', '3'], u: [] };
  // A rule of `a` makes two keys and a tag of each row.
  const seen = (most: number, steps: number): string[] => {
    const { replica, evicted } = replicaWith(most, steps);
    replica.observe(recordOf(1000, 1010, changed));
    return [...evicted];
  };
  expect(seen(9, 0)).not.toContain('a/*');
  expect(seen(9, 4)).not.toContain('a/*');
  expect(seen(9, 8)).toContain('a/*');
  // The last name is none that anything comes after.
  const { replica, evicted } = replicaWith(9, 10_000);
  replica.observe(recordOf(1000, 1010, { t: ['1'], u: [] }));
  expect([...evicted].toSorted()).toEqual(['a/1', 'a/k:1', 'a/tag t:1']);
  replica.observe(recordOf(1010, 1020, { t: ['2'], u: [] }));
  expect(evicted).not.toContain('a/*');
});
