import { parseConfig, rulesHash, rulesInputs } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { effectiveConfig, MAX_NAMESPACES, type NamespaceResource, type Written } from './effective-config.ts';

const rule = { table: 'public.users', keys: ['{id}'] };
const valid = { invalidate: [rule] };

function written(namespaces: Readonly<Record<string, object>> = {}): Written {
  const document = { sources: { main: { topic: 't.main' }, other: { topic: 't.other' } }, namespaces };
  const result = parseConfig(document);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return { document, config: result.config };
}

function resource(name: string, more: Partial<NamespaceResource> = {}): NamespaceResource {
  const namespace = more.namespace ?? 'shop';
  const uid = `${namespace}/${name}`;
  return { uid, namespace, name, createdAtMs: 0, spec: valid, claimedBy: undefined, ...more };
}

const effective = (resources: readonly NamespaceResource[], file = written()) =>
  effectiveConfig({ source: 'main', file, resources });

describe('effectiveConfig', () => {
  it('puts document and resources together, with the one source', () => {
    const file = written({ fixed: { source: 'main', ...valid }, foreign: { source: 'other', ...valid } });
    const { document, verdicts, rules } = effective([resource('users')], file);
    expect(document).toEqual({
      sources: { main: { topic: 't.main' } },
      namespaces: { fixed: { source: 'main', ...valid }, users: { source: 'main', ...valid } },
    });
    const hash = rulesHash(rules.find(({ name }) => name === 'users')!);
    expect(verdicts).toEqual(new Map([['shop/users', { kind: 'accepted', hash }]]));
  });

  it('a name belongs to the document, then to the oldest, also while that is invalid', () => {
    const file = written({ fixed: { source: 'main', ...valid } });
    const { verdicts, rules } = effective(
      [
        resource('users', { namespace: 'b', createdAtMs: 2 }),
        resource('users', { namespace: 'a', createdAtMs: 1, spec: {} }),
        resource('fixed'),
      ],
      file,
    );
    expect([...verdicts.values()]).toEqual([
      expect.objectContaining({ reason: 'NameTaken', message: expect.stringContaining('the document') as string }),
      expect.objectContaining({
        reason: 'Invalid',
        message: expect.stringContaining('spec.invalidate: found no rule') as string,
      }),
      expect.objectContaining({ reason: 'NameTaken', message: expect.stringContaining('a/users') as string }),
    ]);
    expect(rules.map(({ name }) => name)).toEqual(['fixed']);
  });

  it.each<[string, Partial<NamespaceResource>, string]>([
    ['another source is named', { spec: { ...valid, source: 'other' } }, 'ignored'],
    ['another source has claimed it', { claimedBy: 'other' }, 'ignored'],
    [
      'another source had claimed it, but this one is named',
      { claimedBy: 'other', spec: { ...valid, source: 'main' } },
      'accepted',
    ],
    ['this source has claimed it', { claimedBy: 'main' }, 'accepted'],
    ['nobody has', {}, 'accepted'],
  ])('%s', (_, more, kind) => {
    expect(effective([resource('users', more)]).verdicts.get('shop/users')?.kind).toBe(kind);
  });

  it('takes no more namespaces than its limit: the oldest', () => {
    const many = Array.from({ length: MAX_NAMESPACES + 2 }, (_, i) => resource(`n${i}`, { createdAtMs: i }));
    const { verdicts } = effective(many.toReversed());
    const refused = [...verdicts].filter(([, { kind }]) => kind === 'refused').map(([uid]) => uid);
    expect(refused).toEqual([`shop/n${MAX_NAMESPACES}`, `shop/n${MAX_NAMESPACES + 1}`]);
  });

  const specs = fc.oneof(
    fc.constantFrom<unknown>(
      valid,
      { ...valid, ttl: { hard: '1h' } },
      { invalidation: 'ttl_only' },
      { ...valid, source: 'other' },
    ),
    fc.anything(),
  );
  const resources = fc.uniqueArray(
    fc
      .record({
        namespace: fc.constantFrom('a', 'b', 'c'),
        name: fc.constantFrom('x', 'y', 'fixed', 'constructor', '__proto__', 'Not A Name'),
        createdAtMs: fc.constantFrom(1, 2, 3),
        spec: specs,
        claimedBy: fc.constantFrom(undefined, 'main', 'other'),
      })
      .map(({ name, ...more }) => resource(name, more)),
    { selector: ({ uid }) => uid },
  );

  it('is total: whatever the resources are, every one has a verdict and the document is valid', () => {
    fc.assert(
      fc.property(resources, (found) => {
        const { document, verdicts, rules } = effective(found, written({ fixed: { source: 'main', ...valid } }));
        expect(verdicts.size).toBe(found.length);
        const result = parseConfig(JSON.parse(JSON.stringify(document)));
        expect(result.ok).toBe(true);
        if (result.ok) expect(rulesInputs(result.config, 'main')).toEqual(rules);
      }),
    );
  });

  it('depends on nothing but what is there: equal resources in any order make an equal document', () => {
    fc.assert(
      fc.property(resources, fc.infiniteStream(fc.nat()), (found, order) => {
        const shuffled = found.map((one) => [order.next().value, one] as const).toSorted(([a], [b]) => a - b);
        const [one, other] = [effective(found), effective(shuffled.map(([, each]) => each))];
        expect(other.text).toBe(one.text);
        expect(Object.fromEntries(other.verdicts)).toEqual(Object.fromEntries(one.verdicts));
      }),
    );
  });

  it('a resource that is refused concerns no other: the document is the same without it', () => {
    fc.assert(
      fc.property(resources, (found) => {
        const { text, verdicts } = effective(found);
        const rest = found.filter(({ uid }) => {
          const verdict = verdicts.get(uid);
          // An invalid one keeps its name.
          return verdict?.kind === 'accepted' || (verdict?.kind === 'refused' && verdict.reason === 'Invalid');
        });
        expect(effective(rest).text).toBe(text);
      }),
    );
  });
});
