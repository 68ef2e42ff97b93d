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
