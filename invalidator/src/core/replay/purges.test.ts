import { purgeSchema } from '@tidemark/proto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PurgeCollector } from './purges.ts';
import { rules } from './testing/stream.ts';

const [user] = rules.namespaces;
const told = fc.array(
  fc.oneof(
    {
      weight: 20,
      arbitrary: fc.record({ kind: fc.constantFrom('key', 'tag', 'prefix'), name: fc.string({ maxLength: 3 }) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('tag', 'prefix'), name: fc.constant('é'.repeat(300)) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('key'), name: fc.constant('x'.repeat(600)) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'all', name: '' }) },
    { weight: 3, arbitrary: fc.constant({ kind: 'send', name: '' }) },
  ),
  { maxLength: 60 },
);

it('[I11] purges every name that was told, or its whole namespace, each once, in requests that are taken', () => {
  fc.assert(
    fc.property(told, fc.integer({ min: 1, max: 20 }), (list, maxNames) => {
      const collector = new PurgeCollector({ maxNames });
      const sent: string[] = [];
      const send = (): void => {
        for (let next = collector.next(); next !== undefined; next = collector.next()) {
          const { purge } = purgeSchema.parse(next.request);
          for (const { keys, tags, prefixes = [], all } of purge) {
            const named = { key: keys, tag: tags, prefix: prefixes };
            for (const [kind, names] of Object.entries(named)) sent.push(...names.map((name) => `${kind} ${name}`));
            if (all) sent.push('all');
          }
        }
        expect(collector.pending).toBe(0);
      };
      for (const { kind, name } of list) {
        if (kind === 'send') send();
        else if (kind === 'all') collector.namespace(user!);
        else if (kind === 'key') collector.key(user!, name);
        else if (kind === 'prefix') collector.prefix(user!, name);
        else collector.tag(user!, name);
      }
      send();
      expect(new Set(sent).size).toBe(sent.length);
      for (const { kind, name } of list) {
        if (kind === 'send') continue;
        // No entry has such a key.
        if (kind === 'key' && (name === '' || name.length > 512)) continue;
        expect(sent.includes('all') || sent.includes(`${kind} ${name}`)).toBe(true);
      }
    }),
  );
});

it('sends no more names than one purge may have', () => {
  const collector = new PurgeCollector();
  for (let i = 0; i < 2500; i++) collector.key(user!, `k${i}`);
  const sizes: number[] = [];
  for (let next = collector.next(); next !== undefined; next = collector.next()) sizes.push(next.names);
  expect(sizes).toEqual([1000, 1000, 500]);
});
