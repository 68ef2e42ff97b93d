import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HandL2 } from '../testing/hand-l2.ts';
import { testServer, type TestServer } from '../testing/server.ts';

let sidecar: TestServer;
beforeAll(async () => {
  sidecar = await testServer({ maxItemBytes: '1KiB' });
});
afterAll(() => sidecar.close());

const get = (path: string) => sidecar.ask('GET', path);

describe('what is not there', () => {
  it('an unknown namespace is a problem, not a miss', async () => {
    const answer = await get('/v1/cache/nobody/1');
    expect(answer).toMatchObject({ status: 404, problem: 'unknown-namespace', cacheStatus: undefined });
    expect(answer.headers['content-type']).toBe('application/problem+json');
  });

  it('nor are the names that every object has', async () => {
    for (const name of ['constructor', '__proto__', 'toString'])
      expect((await get(`/v1/cache/${name}/1`)).problem).toBe('unknown-namespace');
  });

  it('an unknown path is a problem', async () => {
    expect(await get('/v2/cache/user/1')).toMatchObject({ status: 404, problem: 'not-found' });
    expect(await get('/')).toMatchObject({ status: 404, problem: 'not-found' });
  });

  it('a bad key is a problem', async () => {
    for (const path of [
      '/v1/cache/user/%',
      '/v1/cache/user',
      '/v1/cache',
      '/v1/cache/user/a/b',
      '/v1/cache/user/a?b',
    ]) {
      expect(await get(path)).toMatchObject({ status: 400, problem: 'bad-key' });
    }
  });
});

describe('405 names what is allowed', () => {
  it.each([
    ['POST', '/v1/cache/user/1', 'GET, HEAD, PUT, DELETE'],
    ['PATCH', '/v1/cache/user/1', 'GET, HEAD, PUT, DELETE'],
    ['OPTIONS', '/v1/cache/user/1', 'GET, HEAD, PUT, DELETE'],
    ['GET', '/v1/purge', 'POST'],
    ['POST', '/v1/status', 'GET, HEAD'],
    ['PUT', '/livez', 'GET, HEAD'],
    ['POST', '/openapi.json', 'GET, HEAD'],
  ])('%s %s', async (method, path, allow) => {
    const answer = await sidecar.ask(method, path);
    expect([answer.status, answer.problem, answer.headers.allow]).toEqual([405, 'method-not-allowed', allow]);
  });
});

describe('a connection on which no HTTP comes', () => {
  it.each([
    ['garbage', '\x00\x01\x02garbage\r\n\r\n'],
    ['a TLS hello', Buffer.from('160301020001000', 'hex')],
    ['two lengths', 'PUT /v1/cache/user/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    [
      'a length and chunks',
      'PUT /v1/cache/user/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a request without Host', 'GET /livez HTTP/1.1\r\n\r\n'],
  ])('is answered 400 and closed: %s', async (_name, bytes) => {
    expect(await sidecar.raw(bytes)).toMatch(/^HTTP\/1\.1 400 /);
    expect((await get('/livez')).status).toBe(200);
  });

  it('headers that are too large are 431', async () => {
    const answer = await sidecar.raw(`GET /livez HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
    expect(answer).toContain('urn:tidemark:problem:headers-too-large');
  });
});

it('answers pipelined requests in their order', async () => {
  const request = (key: string, more = ''): string =>
    `GET /v1/cache/user/${key} HTTP/1.1\r\nHost: x\r\nCache-Control: only-if-cached\r\n${more}\r\n`;
  const answer = await sidecar.raw(
    `${request('a')}GET /livez HTTP/1.1\r\nHost: x\r\n\r\n${request('b', 'Connection: close\r\n')}`,
  );
  expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 404', 'HTTP/1.1 200', 'HTTP/1.1 404']);
});

describe('DELETE and purge', () => {
  it('answer once this sidecar has applied the purge', async () => {
    const { lease } = await get('/v1/cache/user/1');
    await sidecar.ask('PUT', '/v1/cache/user/1', { body: 'one', headers: { 'tidemark-lease': lease! } });
    const answer = await sidecar.ask('DELETE', '/v1/cache/user/1');
    expect([answer.status, answer.headers['tidemark-lsn']]).toEqual([204, expect.stringMatching(/^0\//)]);
    expect(
      (await sidecar.ask('GET', '/v1/cache/user/1', { headers: { 'cache-control': 'only-if-cached' } })).status,
    ).toBe(404);
    const purge = { purge: [{ namespace: 'user', keys: ['1'] }] };
    expect((await sidecar.ask('POST', '/v1/purge', { body: JSON.stringify(purge) })).status).toBe(204);
  });

  it.each([
    ['no JSON', '{', 'bad-request'],
    ['nothing', '', 'bad-request'],
    ['no purge', '{"purge":[]}', 'bad-request'],
    ['nothing to purge', '{"purge":[{"namespace":"user"}]}', 'bad-request'],
    ['an unknown namespace', '{"purge":[{"namespace":"nobody","all":true}]}', 'unknown-namespace'],
    ['a namespace that no purge reaches', '{"purge":[{"namespace":"plain","all":true}]}', 'bad-request'],
  ])('refuse %s', async (_name, body, code) => {
    expect((await sidecar.ask('POST', '/v1/purge', { body })).problem).toBe(code);
  });

  it('say when to try again while the invalidator cannot be asked, or is not heard of', async () => {
    const away = await testServer({ purge: { purge: () => Promise.resolve({ failed: 'it is away' }) } });
    const answer = await away.ask('DELETE', '/v1/cache/user/1');
    expect([answer.status, answer.problem, answer.headers['retry-after']]).toEqual([503, 'unavailable', '1']);
    await away.close();

    const silent = await testServer({ purge: { purge: () => Promise.resolve({ lsn: 10_000 }) } });
    const waiting = silent.ask('DELETE', '/v1/cache/user/1');
    await expect.poll(() => silent.watermark.waiting).toBe(1);
    silent.clock.advance(1_000);
    expect(await waiting).toMatchObject({ status: 503, problem: 'unavailable' });
    await silent.close();
  });

  it('say so where a value without coherence is gone here, and may still stand in what sidecars share', async () => {
    const l2 = new HandL2();
    const sharing = await testServer({ l2 });
    await sharing.ask('PUT', '/v1/cache/plain/1', { body: 'one' });
    l2.available = false;
    const answer = await sharing.ask('DELETE', '/v1/cache/plain/1');
    expect([answer.status, answer.problem, answer.headers['retry-after']]).toEqual([503, 'unavailable', '1']);
    expect((await sharing.ask('GET', '/v1/cache/plain/1')).status).toBe(404);
    l2.available = true;
    expect((await sharing.ask('DELETE', '/v1/cache/plain/1')).status).toBe(204);
    await sharing.close();
  });
});

it('HEAD of every page has the headers of GET and no body', async () => {
  for (const path of ['/livez', '/readyz', '/metrics', '/v1/status', '/openapi.json']) {
    const [head, whole] = await Promise.all([sidecar.ask('HEAD', path), get(path)]);
    expect([head.status, head.body.length, head.headers['content-length']]).toEqual([
      whole.status,
      0,
      whole.headers['content-length'],
    ]);
  }
});

it('an interim answer stands in no body, where requests follow each other without waiting', async () => {
  const first = 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n';
  const second = 'GET /openapi.json HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n';
  const answers = await sidecar.raw(first + second);
  const [, length, body] =
    /Content-Length: (\d+)[^{]*(\{.*)$/is.exec(answers.slice(answers.lastIndexOf('HTTP/1.1 200'))) ?? [];
  expect(Buffer.byteLength(body ?? '')).toBe(Number(length));
  expect(JSON.parse(body ?? '')).toHaveProperty('openapi');
  const put =
    'PUT /v1/cache/plain/1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx';
  expect(await sidecar.raw(put)).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 20[14] /);
});
