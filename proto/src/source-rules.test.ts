import { expect, it } from 'vitest';
import { parseConfig } from './config.ts';
import { rulesOfSource } from './source-rules.ts';

const namespace = (source: string, more: object = {}) => ({
  source,
  invalidate: [{ table: 'public.t', keys: ['{id}'] }],
  ...more,
});

function compile(namespaces: object) {
  const result = parseConfig({ sources: { main: { topic: 'a' }, second: { topic: 'b' } }, namespaces });
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return rulesOfSource(result.config, 'main');
}

it('[I8] takes the coherent namespaces of the source, in an order that does not depend on the document', () => {
  const one = compile({
    b: namespace('main'),
    a: namespace('main'),
    c: namespace('second'),
    d: namespace('main', { invalidation: 'ttl_only' }),
  });
  const two = compile({ a: namespace('main'), b: namespace('main') });
  expect(one.namespaces.map(({ index, name }) => [index, name])).toEqual([
    [0, 'a'],
    [1, 'b'],
  ]);
  expect(one.namespaces).toEqual(two.namespaces);
});

it('[I8] defaults written out, and settings that decide nothing about eviction, do not change the hash', () => {
  const short = compile({ a: namespace('main') });
  const long = compile({
    a: { source: 'main', ttl: { hard: '1h' }, invalidate: [{ table: 'public.t', keys: ['{id}'], tags: [] }] },
  });
  expect(long.namespaces[0]?.hash).toBe(short.namespaces[0]?.hash);
});

it('[I8] another way to load is another hash, how long it may take is not, and none is the hash of before', () => {
  const hashOf = (load: unknown): string | undefined =>
    compile({ a: namespace('main', load === undefined ? {} : { load }) }).namespaces[0]?.hashHex;
  const sql = 'select a from t where id = $1';
  const http = { url: 'http://app/{key}' };
  const loads: unknown[] = [
    undefined,
    { sql },
    { sql: 'select b from t where id = $1' },
    { sql, params: ['x-{key}'] },
    { sql, rows: 'many' },
    { sql, tags: ['{id}'] },
    { sql, contentType: 'text/html' },
    { sql, key: 'x-{id}', params: ['{id}'] },
    { http },
    { http: { url: 'http://app/v2/{key}' } },
    { http: { ...http, headers: { accept: 'text/html' } } },
  ];
  expect(new Set(loads.map(hashOf)).size).toBe(loads.length);
  expect(hashOf({ byKey: [{ sql: `${sql};` }] })).toBe(hashOf({ sql }));
  expect(hashOf({ sql, timeout: '5s', breaker: { failures: 1 } })).toBe(hashOf({ sql }));
  expect(hashOf({ http: { ...http, retries: 0, connections: 1 } })).toBe(hashOf({ http }));
  expect(hashOf(undefined)).toBe('d3d295dcce83ec8c');
});
