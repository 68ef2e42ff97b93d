import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { testServer, type Answer, type TestServer } from '../testing/server.ts';

let sidecar: TestServer;
beforeEach(async () => {
  sidecar = await testServer({ maxItemBytes: '1KiB' });
});
afterEach(() => sidecar.close());

const path = (key: string, namespace = 'user'): string => `/v1/cache/${namespace}/${key}`;

async function fill(
  key: string,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
  namespace = 'user',
): Promise<Answer> {
  const { lease } = await sidecar.ask('GET', path(key, namespace), { headers: { 'cache-control': 'no-cache' } });
  return sidecar.ask('PUT', path(key, namespace), {
    body,
    headers: { 'content-type': 'text/plain', ...(lease && { 'tidemark-lease': lease }), ...headers },
  });
}

describe('GET', () => {
  it('hands out a lease for what is missing, and serves what was filled with it', async () => {
    const miss = await sidecar.ask('GET', path('1'));
    expect(miss).toMatchObject({ status: 404, cacheStatus: 'tidemark; fwd=miss', body: Buffer.alloc(0) });
    expect(miss.headers['cache-control']).toBe('no-store');
    const put = await sidecar.ask('PUT', path('1'), {
      body: 'one',
      headers: { 'tidemark-lease': miss.lease!, 'content-type': 'text/x-one' },
    });
    expect([put.status, put.body.length]).toEqual([201, 0]);
    sidecar.clock.advance(3_500);
    const slow = sidecar.slow();
    const hit = await sidecar.ask('GET', path('1'));
    expect(hit).toMatchObject({
      status: 200,
      cacheStatus: 'tidemark; hit; ttl=56; detail=l1',
      body: Buffer.from('one'),
    });
    expect(hit.headers).toMatchObject({
      age: '3',
      'cache-control': 'no-cache',
      'content-type': 'text/x-one',
      'tidemark-lsn': '0/3F2',
      etag: expect.stringMatching(/^"[\w-]{22}"$/) as string,
    });
    // Express did not see it.
    expect(sidecar.slow()).toBe(slow);
  });

  it('serves every byte as it was put', async () => {
    for (const size of [0, 1, 255, 1024]) {
      const body = Uint8Array.from({ length: size }, (_, i) => i % 256);
      await fill(`size-${size}`, body);
      expect((await sidecar.ask('GET', path(`size-${size}`))).body).toEqual(Buffer.from(body));
    }
  });

  it('serves large values too', async () => {
    const large = await testServer({ maxItemBytes: '256KiB' });
    const { lease } = await large.ask('GET', path('1'));
    const body = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 256);
    expect((await large.ask('PUT', path('1'), { body, headers: { 'tidemark-lease': lease! } })).status).toBe(201);
    expect((await large.ask('GET', path('1'))).body).toEqual(Buffer.from(body));
    await large.close();
  });

  it.each(['"other"', '"a", "b"', 'W/"x"'])('answers 200 to If-None-Match: %s', async (field) => {
    await fill('1', 'one');
    expect((await sidecar.ask('GET', path('1'), { headers: { 'if-none-match': field } })).status).toBe(200);
  });

  it('answers 304 without a body to the tag it gave, to a list with it, to its weak form and to *', async () => {
    await fill('1', 'one');
    const { etag } = (await sidecar.ask('GET', path('1'))).headers;
    const slow = sidecar.slow();
    for (const field of [etag!, `"a", ${etag!}`, `W/${etag!}`, '*']) {
      const answer = await sidecar.ask('GET', path('1'), { headers: { 'if-none-match': field } });
      expect(answer).toMatchObject({ status: 304, body: Buffer.alloc(0) });
      expect(answer.headers).toMatchObject({
        etag,
        'cache-status': expect.stringContaining('hit') as string,
        'tidemark-lsn': '0/3F2',
      });
    }
    expect(sidecar.slow()).toBe(slow);
  });

  it('gives equal values one entity tag, and other bytes or another type another', async () => {
    const tagOf = async (key: string): Promise<string | undefined> =>
      (await sidecar.ask('GET', path(key))).headers.etag;
    await fill('1', 'same');
    await fill('2', 'same');
    await fill('3', 'same', { 'content-type': 'text/html' });
    await fill('4', 'other');
    expect(await tagOf('2')).toBe(await tagOf('1'));
    expect(await tagOf('3')).not.toBe(await tagOf('1'));
    expect(await tagOf('4')).not.toBe(await tagOf('1'));
  });

  it('stops at the hard TTL', async () => {
    await fill('1', 'one');
    sidecar.clock.advance(59_999);
    sidecar.stream.say();
    expect((await sidecar.ask('GET', path('1'))).cacheStatus).toBe('tidemark; hit; ttl=0; detail=l1');
    sidecar.clock.advance(1);
    expect((await sidecar.ask('GET', path('1'))).cacheStatus).toBe('tidemark; fwd=stale');
  });

  it('gives a lease whatever is cached to Cache-Control: no-cache', async () => {
    await fill('1', 'one');
    const reload = await sidecar.ask('GET', path('1'), { headers: { 'cache-control': 'no-cache' } });
    expect(reload).toMatchObject({
      status: 404,
      cacheStatus: 'tidemark; fwd=request',
      lease: expect.any(String) as string,
    });
    expect((await sidecar.ask('GET', path('1'))).status).toBe(200);
    const put = await sidecar.ask('PUT', path('1'), { body: 'two', headers: { 'tidemark-lease': reload.lease! } });
    expect(put.status).toBe(204);
    expect((await sidecar.ask('GET', path('1'))).body.toString()).toBe('two');
  });

  it('does not wait and takes no lease for Cache-Control: only-if-cached', async () => {
    await sidecar.ask('GET', path('1'));
    const answer = await sidecar.ask('GET', path('1'), { headers: { 'cache-control': 'only-if-cached' } });
    expect(answer).toMatchObject({ status: 404, cacheStatus: 'tidemark; fwd=miss', lease: undefined });
  });

  it('ignores directives that it does not know (RFC 9111)', async () => {
    await fill('1', 'one');
    expect((await sidecar.ask('GET', path('1'), { headers: { 'cache-control': 'max-stale=10, x-new' } })).status).toBe(
      200,
    );
  });

  it('waits for another caller of the same key', async () => {
    const { lease } = await sidecar.ask('GET', path('1'));
    const waiting = sidecar.ask('GET', path('1'));
    await expect.poll(() => sidecar.coalescer.waiting).toBe(1);
    await sidecar.ask('PUT', path('1'), { body: 'one', headers: { 'tidemark-lease': lease! } });
    expect(await waiting).toMatchObject({
      status: 200,
      cacheStatus: 'tidemark; fwd=miss; stored; collapsed; ttl=60; detail=coalesced',
      body: Buffer.from('one'),
    });
  });

  it('forgets a caller that hangs up while it waits', async () => {
    await sidecar.ask('GET', path('1'));
    const closed = sidecar.raw(`GET ${path('1')} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await expect.poll(() => sidecar.coalescer.waiting).toBe(1);
    sidecar.server.closeAllConnections();
    await closed;
    await expect.poll(() => sidecar.coalescer.waiting).toBe(0);
    expect(sidecar.clock.timers).toBe(0);
  });
});

it('HEAD answers as GET does, without the value and without taking the lease', async () => {
  expect(await sidecar.ask('HEAD', path('1'))).toMatchObject({ status: 404, lease: undefined });
  await fill('1', 'one');
  const head = await sidecar.ask('HEAD', path('1'));
  expect(head).toMatchObject({ status: 200, cacheStatus: 'tidemark; hit; ttl=60; detail=l1', body: Buffer.alloc(0) });
  expect(head.headers['content-length']).toBe('3');
});

describe('while nothing may be cached', () => {
  it.each([
    ['starting', () => sidecar.replica.lost()],
    ['stalled', () => sidecar.clock.advance(5_001)],
    ['uncovered', () => sidecar.stream.say({ covers: [] })],
  ])('answers a miss without a lease: %s', async (why, happen) => {
    await fill('1', 'one');
    happen();
    const answer = await sidecar.ask('GET', path('1'));
    expect(answer).toMatchObject({ status: 404, cacheStatus: `tidemark; fwd=bypass; detail=${why}`, lease: undefined });
  });

  it('goes on with what is cached once a short stall is over', async () => {
    await fill('1', 'one');
    sidecar.clock.advance(5_001);
    expect((await sidecar.ask('GET', path('1'))).status).toBe(404);
    sidecar.stream.say();
    expect((await sidecar.ask('GET', path('1'))).status).toBe(200);
  });

  it.each([
    ['starting', () => sidecar.replica.lost()],
    ['uncovered', () => sidecar.stream.say({ covers: [] })],
  ])('refuses fills as fenced: %s', async (_why, happen) => {
    const { lease } = await sidecar.ask('GET', path('1'));
    happen();
    expect(await sidecar.ask('PUT', path('1'), { body: 'one', headers: { 'tidemark-lease': lease! } })).toMatchObject({
      status: 409,
      problem: 'fenced',
    });
  });
});

describe('a namespace that opted out of coherence', () => {
  it('takes values without a lease, promises no position, and does not need the stream', async () => {
    sidecar.replica.lost();
    expect(await sidecar.ask('GET', path('1', 'plain'))).toMatchObject({
      status: 404,
      cacheStatus: 'tidemark; fwd=miss',
      lease: undefined,
    });
    expect((await sidecar.ask('PUT', path('1', 'plain'), { body: 'one' })).status).toBe(201);
    const hit = await sidecar.ask('GET', path('1', 'plain'));
    expect(hit).toMatchObject({ status: 200, body: Buffer.from('one') });
    expect(hit.headers['tidemark-lsn']).toBeUndefined();
    expect((await sidecar.ask('DELETE', path('1', 'plain'))).status).toBe(204);
    expect((await sidecar.ask('GET', path('1', 'plain'))).status).toBe(404);
  });
});
