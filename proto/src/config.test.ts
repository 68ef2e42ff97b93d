import { describe, expect, it } from 'vitest';
import { parseConfig, type TidemarkConfig } from './config.ts';
import { coherent, full, minimal, rule, withNamespace, withRule } from './testing/documents.ts';

function parsed(document: unknown): TidemarkConfig {
  const result = parseConfig(document);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result.config;
}

describe('parseConfig', () => {
  it('turns durations into milliseconds, sizes into bytes, percentages into fractions, and fills in defaults', () => {
    expect(parsed(full).namespaces['user-profile']).toEqual({
      source: 'main',
      invalidation: 'rules',
      ttl: { hard: 3_600_000, negative: 10_000, staleIfError: 0, jitter: 0 },
      onInvalidate: 'evict',
      l1: { maxBytes: 128 * 1024 ** 2, policy: 'lru' },
      l2: { enabled: false, compress: { enabled: true, over: 65_536 }, chunk: 64 * 1024, lease: true },
      refresh: { early: 1, ahead: 0 },
      maxItemBytes: 64 * 1024,
      invalidate: [
        { table: 'public.users', keys: ['{id}', 'by-email:{email}'], tags: [] },
        { table: 'public.orders', keys: [], tags: ['user:{user_id}', '{{literal}}'] },
      ],
    });
    expect(parsed(full).namespaces['exchange']).toEqual({
      source: 'main',
      invalidation: 'ttl_only',
      ttl: { hard: 1_800_000, negative: 30_000, staleIfError: 0, jitter: 0.1 },
      onInvalidate: 'evict',
      l1: { maxBytes: 64 * 1024 ** 2, policy: 'lru' },
      l2: { enabled: true, compress: { enabled: true, over: 4096 }, chunk: 512 * 1024, lease: true },
      refresh: { early: 1, ahead: 0 },
      maxItemBytes: 1024 ** 2,
      invalidate: [],
    });
    expect(parsed(minimal)).toEqual({
      sources: { main: { topic: 'tidemark.main', l2: { buckets: 1, maxFences: 100_000 } } },
      namespaces: {},
    });
  });

  it('knows soft TTLs, and what becomes of what was invalidated', () => {
    const ttl = { soft: '5m', hard: '30m', staleIfError: '1h' };
    const read = (more: object) => parsed(coherent({ ttl, ...more })).namespaces['users'];
    expect(read({})).toMatchObject({ ttl: { soft: 300_000, staleIfError: 3_600_000 }, onInvalidate: 'evict' });
    expect(read({ onInvalidate: 'stale' })?.grace).toEqual({ for: 60_000, serve: 'on-request' });
    expect(read({ onInvalidate: 'stale', grace: { for: '5s', serve: 'always' } })?.grace).toEqual({
      for: 5000,
      serve: 'always',
    });
  });

  it.each<[string, unknown, string, string]>([
    ['no document', null, '', 'found null, expected object'],
    ['a list', [], '', 'found [], expected object'],
    [
      'an unknown key at the top',
      { ...minimal, extra: 1 },
      '',
      'found unknown key extra, expected only documented ones',
    ],
    [
      'unknown keys',
      coherent({ a: 1, b: 2 }),
      'namespaces.users',
      'found unknown keys a, b, expected only documented ones',
    ],
    ['no sources', {}, 'sources', 'found nothing, expected object'],
    ['not one source', { sources: {} }, 'sources', 'found none, expected at least one source'],
    ['a source without a topic', { sources: { main: {} } }, 'sources.main.topic', 'found nothing, expected string'],
    [
      'a topic that Kafka would refuse',
      { sources: { main: { topic: 'a b' } } },
      'sources.main.topic',
      `found "a b", expected a Kafka topic name: 1 to 249 of a-z, A-Z, 0-9, '.', '_', '-'`,
    ],
    [
      'a name in capitals',
      { sources: { Main: { topic: 't' } } },
      'sources.Main',
      'found a name of a form that is not allowed, expected 1 to 63 of a-z, 0-9, ".", "_", "-", beginning with a letter or digit',
    ],
    [
      'a name that JavaScript takes for something else',
      JSON.parse('{"sources":{"__proto__":{"topic":"t"}}}'),
      'sources',
      'found none, expected at least one source',
    ],
    [
      'too few buckets',
      { sources: { main: { topic: 't', l2: { buckets: 0 } } } },
      'sources.main.l2.buckets',
      'found 0, expected at least 1',
    ],
    [
      'too many buckets',
      { sources: { main: { topic: 't', l2: { buckets: 1025 } } } },
      'sources.main.l2.buckets',
      'found 1025, expected at most 1024',
    ],
    [
      'half a bucket',
      { sources: { main: { topic: 't', l2: { buckets: 1.5 } } } },
      'sources.main.l2.buckets',
      'found 1.5, expected a whole number',
    ],
    [
      'a source that is not there',
      withNamespace({ source: 'other', invalidate: [rule] }),
      'namespaces.users.source',
      'found "other", expected one of the sources: main',
    ],
    [
      'a source that every object has',
      withNamespace({ source: 'constructor', invalidate: [rule] }),
      'namespaces.users.source',
      'found "constructor", expected one of the sources: main',
    ],
    [
      'a kind of invalidation that is not there',
      coherent({ invalidation: 'none' }),
      'namespaces.users.invalidation',
      'found "none", expected "rules" or "ttl_only"',
    ],
    [
      'a namespace without rules',
      withNamespace({ source: 'main' }),
      'namespaces.users.invalidate',
      'found no rule, expected at least one: without rules nothing would ever evict these entries (or say invalidation: ttl_only)',
    ],
    [
      'too many rules',
      coherent({ invalidate: Array.from({ length: 257 }, () => rule) }),
      'namespaces.users.invalidate',
      'found 257 items, expected at most 256',
    ],
    [
      'a duration without a unit',
      coherent({ ttl: { hard: '30' } }),
      'namespaces.users.ttl.hard',
      'found "30", expected a duration from 1s to 365d',
    ],
    [
      'a duration as a number',
      coherent({ ttl: { hard: 30 } }),
      'namespaces.users.ttl.hard',
      'found 30, expected a duration from 1s to 365d',
    ],
    [
      'a soft TTL beyond the hard one',
      coherent({ ttl: { soft: '31m', hard: '30m' } }),
      'namespaces.users.ttl.soft',
      'found 1860s, expected at most ttl.hard (1800s): an entry is not served after that',
    ],
    [
      'loads ahead of readers without a loader',
      coherent({ refresh: { ahead: 10 } }),
      'namespaces.users.refresh.ahead',
      'found 10 without load, expected 0: the sidecar can only load ahead of readers what it knows how to load',
    ],
    [
      'grace for what is evicted',
      coherent({ grace: { for: '5s' } }),
      'namespaces.users.grace',
      'found settings of grace, expected none with onInvalidate: evict (say onInvalidate: stale to keep what was invalidated)',
    ],
    [
      'a duration that is too short',
      coherent({ ttl: { negative: '999ms' } }),
      'namespaces.users.ttl.negative',
      'found "999ms", expected a duration from 1s to 365d',
    ],
    [
      'a duration that is too long',
      coherent({ ttl: { hard: '366d' } }),
      'namespaces.users.ttl.hard',
      'found "366d", expected a duration from 1s to 365d',
    ],
    [
      'more than all',
      coherent({ ttl: { jitter: '101%' } }),
      'namespaces.users.ttl.jitter',
      'found "101%", expected a percentage from 0% to 100%',
    ],
    [
      'a size that is too small',
      coherent({ l1: { maxBytes: '63KiB' } }),
      'namespaces.users.l1.maxBytes',
      'found "63KiB", expected a size from 64KiB to 16GiB',
    ],
    [
      'a size in other units',
      coherent({ maxItemBytes: '1MB' }),
      'namespaces.users.maxItemBytes',
      'found "1MB", expected a size from 1B to 16MiB',
    ],
    [
      'values that memory could not hold',
      coherent({ l1: { maxBytes: '1MiB' }, maxItemBytes: '1MiB' }),
      'namespaces.users.maxItemBytes',
      'found 1048576 bytes, expected at most 1044480 (4KiB less than l1.maxBytes)',
    ],
    [
      'a table without a schema',
      withRule({ table: 'users', keys: ['{id}'] }),
      'namespaces.users.invalidate.0.table',
      'found "users", expected schema.table, such as public.users',
    ],
    [
      'a rule that evicts nothing',
      withRule({ table: 'public.users' }),
      'namespaces.users.invalidate.0',
      'found neither keys nor tags, expected at least one of them',
    ],
    [
      'an empty template',
      withRule({ table: 'public.users', keys: [''] }),
      'namespaces.users.invalidate.0.keys.0',
      'found "", expected a template such as user:{id}: it is empty',
    ],
    [
      'a malformed template',
      withRule({ table: 'public.users', tags: ['ok', 'a}'] }),
      'namespaces.users.invalidate.0.tags.1',
      'found "a}", expected a template such as user:{id}: "}" at 1 closes nothing',
    ],
    [
      'too many templates',
      withRule({ table: 'public.users', keys: Array.from({ length: 65 }, () => 'k') }),
      'namespaces.users.invalidate.0.keys',
      'found 65 items, expected at most 64',
    ],
    [
      'something long',
      coherent({ maxItemBytes: 'x'.repeat(100) }),
      'namespaces.users.maxItemBytes',
      `found "${'x'.repeat(76)}..., expected a size`,
    ],
    [
      'a quantity with too many digits',
      coherent({ maxItemBytes: `${'1'.repeat(100)}B` }),
      'namespaces.users.maxItemBytes',
      `found "${'1'.repeat(76)}..., expected at most 32 characters`,
    ],
  ])('names place, found and expected: %s', (_, document, path, message) => {
    const result = parseConfig(document);
    expect(result.ok ? [] : result.issues.map((issue) => issue.path)).toEqual([path]);
    const [issue] = result.ok ? [] : result.issues;
    expect(issue?.message).toContain(message);
    expect(issue?.message).toMatch(/^found .*expected /);
  });

  it('takes the largest and the smallest of everything', () => {
    const most = coherent({
      ttl: { hard: '365d', negative: '1s', jitter: '100%' },
      l1: { maxBytes: '16GiB' },
      maxItemBytes: '16MiB',
    });
    const least = coherent({
      ttl: { hard: '1s', jitter: '0%' },
      l1: { maxBytes: '64KiB' },
      maxItemBytes: '1B',
    });
    expect([parseConfig(most).ok, parseConfig(least).ok]).toEqual([true, true]);
  });

  it.each([
    ['64KiB', 60 * 1024],
    ['1MiB', 1020 * 1024],
    ['1028KiB', 1024 ** 2],
    ['16GiB', 1024 ** 2],
  ])(
    'lets values of a namespace with %s of memory be as large as fit there by default, up to 1MiB',
    (maxBytes, most) => {
      const namespace = (more: object) => parsed(coherent({ l1: { maxBytes }, ...more })).namespaces['users'];
      expect(namespace({})?.maxItemBytes).toBe(most);
      expect(namespace({ maxItemBytes: `${most}B` })).toEqual(namespace({}));
    },
  );

  it('reports all issues at once', () => {
    const result = parseConfig({
      sources: { main: { topic: 'a b', extra: 1 } },
      namespaces: {
        users: { source: 'main', ttl: { hard: 'x', jitter: 'y' }, invalidate: [{ table: 'users', keys: ['{'] }] },
      },
    });
    expect(result.ok ? [] : result.issues.map((issue) => issue.path).toSorted()).toEqual([
      'namespaces.users.invalidate.0.keys.0',
      'namespaces.users.invalidate.0.table',
      'namespaces.users.ttl.hard',
      'namespaces.users.ttl.jitter',
      'sources.main',
      'sources.main.topic',
    ]);
  });
});
