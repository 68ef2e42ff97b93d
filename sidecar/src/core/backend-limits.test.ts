import { parseConfig, type TidemarkConfig } from '@tidemark/proto';
import { expect, it } from 'vitest';
import { beyondMemcached } from './backend-limits.ts';

function documentOf(namespace: object, l2: object = {}): TidemarkConfig {
  const common = { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] };
  const parsed = parseConfig({
    sources: { main: { topic: 't', l2 }, other: { topic: 'o', l2: { buckets: 9 } } },
    namespaces: { user: { ...common, load: { sql: 'select 1', params: [] }, ...namespace } },
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.config;
}

it.each<[string, object, object, RegExp[]]>([
  ['nothing of the kind', {}, {}, []],
  ['buckets', {}, { buckets: 4 }, [/^sources\.main\.l2\.buckets: found 4, expected 1 with TIDEMARK_MEMCACHED_URL: /]],
  [
    'what is read most, at the start',
    { warm: {} },
    {},
    [/^namespaces\.user\.warm\.atStart: found 1000, expected warm\.sql .*; or 0$/],
  ],
  [
    'what is read most, on a schedule',
    { warm: { atStart: 0, every: '1h' } },
    {},
    [/^namespaces\.user\.warm\.every: found it without sql, /],
  ],
  [
    'what is read most, at times of the day',
    { warm: { atStart: 0, cron: '0 6 * * *' } },
    {},
    [/^namespaces\.user\.warm\.cron: found it without sql, /],
  ],
  ['keys from SQL', { warm: { sql: 'select id from users', every: '1h' } }, {}, []],
  ['no warming at the start', { warm: { atStart: 0 } }, {}, []],
])('memcached and a document with %s', (_, namespace, l2, expected) => {
  const found = beyondMemcached(documentOf(namespace, l2), 'main');
  expect(found.length).toBe(expected.length);
  found.forEach((issue, i) => expect(issue).toMatch(expected[i]!));
});
