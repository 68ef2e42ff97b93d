import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testServer, type TestServer } from '../testing/server.ts';
import { undocumented } from '../testing/documented.ts';
import { openapi } from './openapi.ts';

let sidecar: TestServer;
beforeAll(async () => {
  sidecar = await testServer();
});
afterAll(() => sidecar.close());

const METHODS = ['get', 'head', 'put', 'post', 'delete', 'patch', 'options'];
type Operation = { readonly responses?: Readonly<Record<string, object>> };
const paths = openapi.paths as unknown as Readonly<Record<string, Readonly<Record<string, Operation>>>>;
const concrete = (path: string): string =>
  path.replace('{namespace}', 'user').replace('{key}', '1').replace('{id}', 'x');

describe('the document', () => {
  it('is what is served', async () => {
    const answer = await sidecar.ask('GET', '/openapi.json');
    expect([answer.headers['content-type'], JSON.parse(answer.body.toString())]).toEqual([
      'application/json',
      JSON.parse(JSON.stringify(openapi)),
    ]);
  });

  it('has no reference to nowhere', () => {
    for (const [, name] of JSON.stringify(openapi).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)) {
      expect(Object.keys(openapi.components.schemas)).toContain(name);
    }
  });
});

describe.each(Object.keys(paths))('%s', (path) => {
  const documented = Object.keys(paths[path]!).filter((name) => METHODS.includes(name));

  it('answers the documented methods with documented statuses', async () => {
    for (const method of documented) {
      const { status } = await sidecar.ask(method.toUpperCase(), concrete(path));
      expect(Object.keys(paths[path]![method]!.responses!)).toContain(String(status));
    }
  });

  it('answers 405 to the others, naming those that there are', async () => {
    // HEAD goes without saying where there is GET.
    const allowed = new Set([...documented, ...(documented.includes('get') ? ['head'] : [])]);
    for (const method of METHODS.filter((each) => !allowed.has(each))) {
      const { status, headers } = await sidecar.ask(method.toUpperCase(), concrete(path));
      expect([method, status]).toEqual([method, 405]);
      expect(new Set(headers.allow?.toLowerCase().split(', '))).toEqual(allowed);
    }
  });
});

// Whatever tests ask of a sidecar is compared with the document; see testing/documented.ts.
it.each([
  ['a status', { status: 206 }],
  ['a path', { path: '/v1/nowhere' }],
  ['a header', { headers: { etag: '"e"', 'x-more': '1' } }],
  ['a member', { path: '/v1/batch', method: 'POST', body: '{"lsn":"0/1","more":1}' }],
  [
    'a member of an item',
    { path: '/v1/batch', method: 'POST', body: '{"lsn":"0/1","get":{"n":[{"status":200,"x":1}]}}' },
  ],
])('%s that is not documented is found', (_what, more) => {
  const exchange = { method: 'GET', path: '/v1/cache/n/1', status: 200, body: '', ...more };
  const headers = 'headers' in more ? more.headers : { 'content-type': 'application/json' };
  expect(undocumented({ ...exchange, headers, body: Buffer.from(exchange.body) })).toBeDefined();
  expect(
    undocumented({ ...exchange, path: '/v1/cache/n/1', method: 'GET', status: 200, headers: {}, body: Buffer.of() }),
  ).toBeUndefined();
});

it('documents every header that the answers have', async () => {
  const { lease } = await sidecar.ask('GET', '/v1/cache/user/documented');
  await sidecar.ask('PUT', '/v1/cache/user/documented', { body: 'x', headers: { 'tidemark-lease': lease! } });
  const answer = await sidecar.ask('GET', '/v1/cache/user/documented');
  const plain = new Set(['date', 'connection', 'keep-alive', 'content-length', 'content-type']);
  const documented = JSON.stringify(openapi).toLowerCase();
  for (const name of Object.keys(answer.headers).filter((each) => !plain.has(each)))
    expect(documented).toContain(`"${name}":`);
});
