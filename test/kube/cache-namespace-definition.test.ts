import { ApiException, CustomObjectsApi } from '@kubernetes/client-node';
import { CACHE_NAMESPACE, parseConfig } from '@tidemark/proto';
import fc from 'fast-check';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type Cluster, startCluster } from '../kit/kube/index.ts';
import { defineCacheNamespaces } from './support/definition.ts';

// The definition in the cluster and the schema of the document say the same. Where they differ is said below.

const { group, version, plural, kind } = CACHE_NAMESPACE;
const namespace = 'default';

let cluster: Cluster;
let api: CustomObjectsApi;

beforeAll(async () => {
  cluster = await startCluster();
  await defineCacheNamespaces(cluster);
  api = cluster.api(CustomObjectsApi);
});
afterAll(() => cluster?.stop());

/** What the API server says against a resource; undefined where it takes it. Nothing is stored. */
async function refusal(name: string, spec: unknown, fieldValidation = 'Strict'): Promise<string | undefined> {
  const body = { apiVersion: `${group}/${version}`, kind, metadata: { name, namespace }, spec };
  try {
    await api.createNamespacedCustomObject({
      ...{ group, version, plural, namespace, body, fieldValidation },
      dryRun: 'All',
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof ApiException)) throw error;
    const { body: told } = error as { body: unknown };
    return (typeof told === 'string' ? (JSON.parse(told) as { message: string }) : (told as { message: string }))
      .message;
  }
}

/** The same of the document. A source may be left out of a resource. */
function complaint(name: string, spec: unknown): string | undefined {
  const isObject = typeof spec === 'object' && spec !== null && !Array.isArray(spec);
  const result = parseConfig({
    // Only the invalidator knows which sources there are.
    sources: { main: { topic: 'main' }, text: { topic: 'text' } },
    namespaces: { [name]: isObject ? { source: 'main', ...spec } : spec },
  });
  return result.ok ? undefined : result.issues.map(({ path, message }) => `${path}: ${message}`).join('; ');
}

const rule = { table: 'public.users', keys: ['{id}'] };
const valid = { source: 'main', invalidate: [rule] };

const digits = fc.stringMatching(/^(0|[1-9][0-9]{0,5})(\.[0-9]{1,3})?$/);
const quantity = (usual: string, units: readonly string[], edges: readonly string[]) =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constant(usual) },
    fc.tuple(digits, fc.constantFrom(...units, '', 'x')).map(([count, unit]) => `${count}${unit}`),
    fc.constantFrom(...edges),
    fc.constantFrom(
      '',
      '1',
      '-1s',
      '1e3s',
      '.5s',
      '1.s',
      ' 1s',
      '1s ',
      '1s\n',
      `${'9'.repeat(31)}d`,
      `1${'0'.repeat(33)}B`,
    ),
  );
const duration = quantity(
  '5m',
  ['ms', 's', 'm', 'h', 'd'],
  ['999ms', '999.4ms', '999.5ms', '1s', '365d', '365.1d', '31536000s', '31536001s', '8760h', '0.0000115d'],
);
const percentage = quantity('5%', ['%'], ['0%', '100%', '100.01%', '-1%', '99.99%']);
const size = quantity(
  '1MiB',
  ['B', 'KiB', 'MiB', 'GiB'],
  [
    '64KiB',
    '63.99KiB',
    '65535B',
    '65536B',
    '16GiB',
    '16.01GiB',
    '16MiB',
    '16.1MiB',
    '1B',
    '0.4B',
    '0.5B',
    '60KiB',
    '61KiB',
    '1MB',
  ],
);
const scraps = (...parts: readonly string[]) =>
  fc.array(fc.constantFrom(...parts), { maxLength: 6 }).map((all) => all.join(''));
const template = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('{id}', 'user:{id}:{team}', 'all') },
  scraps('{', '}', '{{', '}}', 'a', 'é', ' ', '😀'),
);
const table = fc.oneof({ weight: 8, arbitrary: fc.constant('public.users') }, scraps('.', 'a', ' ', 'é', '"', '\t'));
const names = fc.option(fc.array(template, { maxLength: 3 }), { nil: undefined });
/** Now and then something of another kind than the schema asks for. */
const or = (arbitrary: fc.Arbitrary<unknown>) =>
  fc.oneof(
    { weight: 60, arbitrary },
    { weight: 1, arbitrary: fc.constantFrom<unknown>(7, true, 'text', [], {}, ['a'], { a: 1 }) },
  );
const some = (fields: Readonly<Record<string, fc.Arbitrary<unknown>>>, required: readonly string[] = []) =>
  fc.record(fields, { requiredKeys: [...required] });
const spec = some({
  source: or(fc.constantFrom('main', 'main')),
  invalidation: or(fc.constantFrom('rules', 'ttl_only', 'ttl_only')),
  ttl: or(some({ hard: or(duration), negative: or(duration), jitter: or(percentage) })),
  l1: or(some({ maxBytes: or(size) })),
  l2: or(some({ enabled: or(fc.boolean()) })),
  maxItemBytes: or(size),
  invalidate: or(
    fc.array(or(some({ table: or(table), keys: or(names), tags: or(names) }, ['table', 'keys'])), { maxLength: 3 }),
  ),
  unknown: fc.oneof({ weight: 30, arbitrary: fc.constant(undefined) }, fc.constant(1)),
});

describe('the definition', () => {
  it('takes and refuses what the document takes and refuses', async () => {
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(spec, async (found) => {
        const document = JSON.parse(JSON.stringify(found)) as object;
        const [ours, theirs] = [complaint('users', document), await refusal('users', document)];
        if (ours === undefined) taken += 1;
        expect(theirs !== undefined, JSON.stringify({ document, ours, theirs })).toBe(ours !== undefined);
      }),
      { numRuns: 600 },
    );
    expect(taken).toBeGreaterThan(20);
  });

  it('takes the example of the documentation', async () => {
    const text = await readFile(new URL('../../charts/tidemark/README.md', import.meta.url), 'utf8');
    const [, example = ''] = /```yaml resource\n([^`]*)```/.exec(text) ?? [];
    const { metadata, spec: found } = parse(example) as { metadata: { name: string }; spec: unknown };
    expect([await refusal(metadata.name, found), complaint(metadata.name, found)]).toEqual([undefined, undefined]);
  });

  it('names what is missing in the words of the document', async () => {
    expect(await refusal('users', { source: 'main' })).toContain(
      'without rules nothing would ever evict these entries',
    );
    expect(await refusal('users', { invalidate: [{ table: 'public.users' }] })).toContain(
      'found neither keys nor tags',
    );
    expect(await refusal('users', { ...valid, ttl: { hard: '366d' } })).toContain('from 1s to 365d');
    expect(await refusal('users', { ...valid, l1: { maxBytes: '64KiB' }, maxItemBytes: '61KiB' })).toContain(
      'at most 4KiB less than l1.maxBytes',
    );
  });

  it('takes as many rules and names as the document, and no more', async () => {
    const many = (rules: number, keys: number) => ({
      invalidate: Array.from({ length: rules }, () => ({
        table: 'public.users',
        keys: Array.from({ length: keys }, (_, i) => `${i}:{id}`),
      })),
    });
    for (const [rules, keys] of [
      [256, 64],
      [257, 1],
      [1, 65],
    ] as const) {
      const found = many(rules, keys);
      expect((await refusal('users', found)) === undefined).toBe(complaint('users', found) === undefined);
    }
  });

  describe('differs where it has to:', () => {
    it('names of resources are those of domains: no underline, no dot or hyphen at an end', async () => {
      await fc.assert(
        fc.asyncProperty(fc.stringMatching(/^[a-z0-9A-Z._-]{1,70}$/), async (name) => {
          const isTaken = (await refusal(name, valid)) === undefined;
          const isDomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name);
          expect(isTaken).toBe(complaint(name, valid) === undefined && isDomain);
        }),
        { numRuns: 100 },
      );
    });

    it('what is unknown is only refused to those who ask for it, as kubectl does; else it is left out', async () => {
      expect(await refusal('users', { ...valid, unknown: 1 })).toContain('unknown field "spec.unknown"');
      expect(await refusal('users', { ...valid, unknown: 1 }, 'Ignore')).toBeUndefined();
    });

    it('rare white space in the name of a table is not known to the API server as such', async () => {
      const found = { invalidate: [{ ...rule, table: 'public\u00A0.users' }] };
      expect(complaint('users', found)).toBeDefined();
      expect(await refusal('users', found)).toBeUndefined();
    });
  });
});
