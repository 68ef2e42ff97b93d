import fc from 'fast-check';
import { applyPatch } from 'rfc6902';
import { expect, it } from 'vitest';
import { patchBetween, type Json } from './json-patch.ts';

const { json } = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'small' },
    fc.string({ maxLength: 3 }),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('json'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'tidemark.dev/inject', '~'), tie('json'), { maxKeys: 4 }),
  ),
}));

it('leads from any document to any other, as another implementation of RFC 6902 applies it', () => {
  fc.assert(
    fc.property(json, json, (before, after) => {
      const copy = structuredClone({ root: before });
      const operations = patchBetween(before, after, '/root').map((operation) => structuredClone(operation));
      expect(applyPatch(copy, operations as Parameters<typeof applyPatch>[1]).every((error) => error === null)).toBe(
        true,
      );
      expect(copy).toEqual({ root: after });
    }),
    { numRuns: 2000 },
  );
});

it('says nothing where nothing changed', () => {
  fc.assert(
    fc.property(json, (document) => {
      expect(patchBetween(document, structuredClone(document))).toEqual([]);
    }),
  );
});

it('adds what came into a list, at its place, and leaves the rest', () => {
  const before = { env: [{ name: 'A' }, { name: 'B' }] };
  expect(patchBetween(before, { env: [{ name: 'NEW' }, ...before.env] })).toEqual([
    { op: 'add', path: '/env/0', value: { name: 'NEW' } },
  ]);
  expect(patchBetween(before, { env: [...before.env, { name: 'C' }, { name: 'D' }] })).toEqual([
    { op: 'add', path: '/env/2', value: { name: 'C' } },
    { op: 'add', path: '/env/3', value: { name: 'D' } },
  ]);
  expect(patchBetween({ 'a/b~c': 1 }, { 'a/b~c': 2 })).toEqual([{ op: 'replace', path: '/a~1b~0c', value: 2 }]);
});
