import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testServer, type TestServer } from '../testing/server.ts';

// What generated requests have found (test/fuzz), kept as examples.

let sidecar: TestServer;
beforeAll(async () => {
  sidecar = await testServer({ maxItemBytes: '1KiB' });
});
afterAll(() => sidecar.close());

const cached = async (key: string): Promise<number> =>
  (await sidecar.ask('GET', `/v1/cache/plain/${key}`, { headers: { 'cache-control': 'only-if-cached' } })).status;

describe('what a request asks and nobody does', () => {
  it.each(['http://[::1', '//[#a@:', 'http://a:b:c@[/'])('a target that is no URL is a problem: %s', async (target) => {
    const answer = await sidecar.raw(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('urn:tidemark:problem:bad-request');
  });

  it('another expectation than 100-continue is a problem', async () => {
    const head = 'PUT /v1/cache/plain/e HTTP/1.1\r\nHost: x\r\nExpect: more\r\nContent-Length: 1\r\nConnection: close';
    expect(await sidecar.raw(`${head}\r\n\r\nx`)).toMatch(/^HTTP\/1\.1 417 [^]*expected 100-continue/);
    expect(await cached('e')).toBe(404);
  });

  it('nobody of HTTP/1.0 is told to continue', async () => {
    const head = 'PUT /v1/cache/plain/old HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1';
    expect(await sidecar.raw(`${head}\r\n\r\nx`)).toMatch(/^HTTP\/1\.1 201 /);
  });

  it('a body is not stored as it is coded for its transfer', async () => {
    const head =
      'PUT /v1/cache/plain/coded HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close';
    expect(await sidecar.raw(`${head}\r\n\r\n1\r\nx\r\n0\r\n\r\n`)).toMatch(/^HTTP\/1\.1 400 [^]*expected chunked/);
    expect(await cached('coded')).toBe(404);
  });

  it('addresses are those of the documentation, letter by letter', async () => {
    for (const path of ['/LIVEZ', '/livez/', '/v1/Batch'])
      expect(await sidecar.ask('GET', path)).toMatchObject({ status: 404, problem: 'not-found' });
  });
});

describe('a mistake behind requests that came whole', () => {
  it('is not the answer to one of them', async () => {
    const { lease } = await sidecar.ask('GET', '/v1/cache/user/order');
    expect(lease).toBeDefined();
    // This one waits for the other's value.
    const wrong = 'GET /v1/cache/user/order HTTP/1.1\r\nHost: x\r\n\r\nno HTTP\r\n\r\n';
    const answered = sidecar.raw(wrong);
    await expect.poll(() => sidecar.coalescer.waiting).toBe(1);
    await sidecar.ask('PUT', '/v1/cache/user/order', { body: 'one', headers: { 'tidemark-lease': lease! } });
    expect(await answered).toMatch(/^HTTP\/1\.1 200 [^]*\r\n\r\none$/);
  });

  it('within a body is the answer to that request', async () => {
    const head = 'PUT /v1/cache/plain/broken HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked';
    expect(await sidecar.raw(`${head}\r\n\r\n1\r\nx\r\nzz\r\n`)).toMatch(/^HTTP\/1\.1 400 /);
    expect(await cached('broken')).toBe(404);
  });
});

it('what its own handler would refuse is answered once', async () => {
  const head = 'HEAD /v1/cache/plain/1 HTTP/1.1\r\nHost: x\r\nTidemark-Min-Lsn: x\r\nTransfer-Encoding: chunked';
  expect((await sidecar.raw(`${head}\r\n\r\nzz\r\n`)).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400']);
});

describe('a document', () => {
  it('is UTF-8: names in another encoding are not all taken for one', async () => {
    for (const path of ['/v1/batch', '/v1/purge', '/v1/warm'])
      for (const name of ['jos\xe9', '\xed\xa0\x80', '\xc0\x80']) {
        const texts = [`{"get":{"user":["${name}"]}}`, `{"purge":[{"namespace":"user","keys":["${name}"]}]}`];
        for (const text of [...texts, `{"namespace":"user","keys":["${name}"]}`]) {
          const answer = await sidecar.ask('POST', path, { body: Buffer.from(text, 'latin1') });
          expect(answer).toMatchObject({ status: 400, problem: 'bad-request' });
          expect(answer.body.toString()).toContain('UTF-8');
        }
      }
  });
});

describe('an answer stays small', () => {
  it('whatever is wrong with a purge', async () => {
    const many = Array.from({ length: 1000 }, () => 1);
    const purge = Array.from({ length: 100 }, () => ({ namespace: 'user', keys: many, tags: many }));
    for (const body of [{ purge }, { purge: [{ namespace: 'user', [`x${'x'.repeat(100_000)}`]: 1 }] }]) {
      const answer = await sidecar.ask('POST', '/v1/purge', { body: JSON.stringify(body) });
      expect([answer.status, answer.body.length < 2_000]).toEqual([400, true]);
    }
  });

  it('however long the names are that it does not know', async () => {
    const name = 'n'.repeat(1_000_000);
    const bodies = [{ get: { [name]: ['1'] } }, { get: { [name]: 1 } }, { [name]: 1 }, { put: [{ [name]: 1 }] }];
    for (const body of bodies) {
      const answer = await sidecar.ask('POST', '/v1/batch', { body: JSON.stringify(body) });
      expect([answer.status >= 400 && answer.status < 500, answer.body.length < 1_000]).toEqual([true, true]);
    }
    const path = await sidecar.ask('GET', `/v1/cache/${name.slice(0, 10_000)}/1`);
    expect([path.status, path.body.length < 1_000]).toEqual([404, true]);
  });
});

it('a body that comes byte by byte costs what it has of bytes', async () => {
  const value = Buffer.from(Array.from({ length: 1024 }, (_, i) => i % 256));
  const chunks = [...value].map((byte) => Buffer.from([0x31, 0x0d, 0x0a, byte, 0x0d, 0x0a]));
  const head =
    'PUT /v1/cache/plain/slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n';
  const whole = Buffer.concat([Buffer.from(head), ...chunks, Buffer.from('0\r\n\r\n')]);
  expect(await sidecar.raw(whole)).toMatch(/^HTTP\/1\.1 201 /);
  expect((await sidecar.ask('GET', '/v1/cache/plain/slow')).body).toEqual(value);
});
