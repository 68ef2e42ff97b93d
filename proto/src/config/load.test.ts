import { describe, expect, it } from 'vitest';
import { parseConfig, type LoaderConfig } from '../index.ts';

const parsed = (load: unknown): ReturnType<typeof parseConfig> =>
  parseConfig({
    sources: { main: { topic: 't' } },
    namespaces: { n: { source: 'main', invalidate: [{ table: 'public.t', keys: ['{id}'] }], load } },
  });

function loaders(load: unknown): readonly LoaderConfig[] | undefined {
  const result = parsed(load);
  if (!result.ok) throw new Error(result.issues.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  return result.config.namespaces['n']?.load;
}

function issues(load: unknown): string[] {
  const result = parsed(load);
  return result.ok ? [] : result.issues.map(({ path, message }) => `${path}: ${message}`);
}

describe('a loader', () => {
  it('by SQL has defaults', () => {
    expect(loaders({ sql: 'select * from t where id = $1 ; ' })).toEqual([
      {
        kind: 'sql',
        key: '{key}',
        sql: 'select * from t where id = $1',
        params: ['{key}'],
        rows: 'one',
        contentType: undefined,
        tags: [],
        timeout: 2000,
        breaker: { failures: 5, for: 2000 },
      },
    ]);
    expect(loaders({ sql: 'select 1' })).toMatchObject([{ params: [] }]);
  });

  it('by HTTP has defaults', () => {
    const http = { url: 'http://app:8080/users/{key}?x={key}' };
    expect(loaders({ http, timeout: '500ms', breaker: { failures: 2 } })).toEqual([
      {
        kind: 'http',
        key: '{key}',
        ...http,
        headers: {},
        retries: 2,
        connections: 16,
        contentType: undefined,
        tags: [],
        timeout: 500,
        breaker: { failures: 2, for: 2000 },
      },
    ]);
  });

  it('of each of several shapes of keys', () => {
    const byKey = [
      { key: 'by-email:{email}', sql: 'select * from t where email = $1', params: ['{email}'], tags: ['t:{id}'] },
      { http: { url: 'http://app/{key}' }, tags: ['k:{key}'] },
    ];
    expect(loaders({ byKey })).toMatchObject([
      { kind: 'sql', key: 'by-email:{email}', tags: ['t:{id}'] },
      { kind: 'http', key: '{key}' },
    ]);
    expect(loaders(undefined)).toBeUndefined();
  });
});

describe('what contradicts is refused', () => {
  const sql = 'select * from t where id = $1';
  const url = 'http://app/{key}';
  it.each([
    ['nothing', {}, 'namespaces.n.load: found neither sql nor http, expected one of them'],
    ['both', { sql, http: { url } }, 'namespaces.n.load: found both sql and http, expected one of them'],
    ['a setting beside byKey', { timeout: '1s', byKey: [{ sql }] }, 'found byKey and timeout beside it'],
    [
      'params that are no part of the key',
      { sql, params: ['{id}'] },
      'load.params.0: found {id} in "{id}", expected {key}',
    ],
    [
      'a header that values do not differ by',
      { sql, params: ['{header.x-tenant}'] },
      'expected a header that vary names',
    ],
    ['too few params', { sql: 'select $1, $2' }, 'found 1, expected one for each of $1 to $2'],
    ['params for none', { sql: 'select 1', params: ['{key}'] }, 'found 1, expected none'],
    ['a shape that is open', { key: '{a}{b}', sql }, 'nothing stands between {a} and {b}'],
    ['a shape that no template is', { byKey: [{ key: '{', sql }] }, 'namespaces.n.load.byKey.0.key: found "{"'],
    ['rows with http', { http: { url }, rows: 'many' }, 'found rows, expected none with http'],
    ['params with http', { http: { url }, params: ['{key}'] }, 'found params, expected none with http'],
    ['a host from the key', { http: { url: 'http://{key}/x' } }, 'nobody who asks may choose the host'],
    ['a port from the key', { http: { url: 'http://app:{key}/x' } }, 'nobody who asks may choose the host'],
    ['a host that goes on in the key', { http: { url: 'http://app{key}' } }, 'nobody who asks may choose the host'],
    ['another protocol', { http: { url: 'file:///etc/{key}' } }, 'expected http://HOST:PORT/PATH'],
    ['a secret in the URL', { http: { url: 'http://a:b@app/{key}' } }, 'the document is no place for secrets'],
    ['a fragment', { http: { url: 'http://app/#{key}' } }, 'expected visible ASCII without "#"'],
    ['white space', { http: { url: 'http://app/a b/{key}' } }, 'percent-encoded (%20)'],
    ['a path that is not encoded', { http: { url: 'http://app/ü/{key}' } }, 'percent-encoded (%C3%BC)'],
    ['a path of other letters', { http: { url: 'http://app/ж/{key}' } }, 'percent-encoded (%D0%B6)'],
    ['a path of control characters', { http: { url: 'http://app/\u0001/{key}' } }, 'percent-encoded (%01)'],
    ['an unknown part in the URL', { http: { url: 'http://app/{id}' } }, 'load.http.url: found {id}'],
    [
      'a field of ours',
      { http: { url, headers: { 'Tidemark-Load': 'x' } } },
      'expected none that the sidecar sets itself',
    ],
    ['a field that ends early', { http: { url, headers: { a: 'b\r\nc: d' } } }, 'expected printable ASCII characters'],
    ['a timeout that is none', { sql, timeout: '1h' }, 'expected a duration from 10ms to 10s'],
    ['an unknown setting', { sql, sqll: 'x' }, 'found unknown key sqll'],
  ])('%s', (_, load, because) => {
    expect(issues(load).join('\n')).toContain(because);
  });
});
