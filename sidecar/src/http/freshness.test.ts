import { afterEach, describe, expect, it } from 'vitest';
import { testServer, type Answer, type TestServer } from '../testing/server.ts';

// What callers see of soft TTLs and of old values (RFC 9111, 5861, 9211).

let sidecar: TestServer;
afterEach(() => sidecar.close());

const path = '/v1/cache/user/1';
const ask = (control?: string, more: Record<string, string> = {}): Promise<Answer> =>
  sidecar.ask('GET', path, { headers: { ...(control !== undefined && { 'cache-control': control }), ...more } });
const put = (lease: string | undefined, control = ''): Promise<Answer> =>
  sidecar.ask('PUT', path, {
    body: 'v',
    headers: { ...(lease && { 'tidemark-lease': lease }), ...(control && { 'cache-control': control }) },
  });
const later = (ms: number): void => {
  sidecar.clock.advance(ms);
  sidecar.stream.say();
};

async function filled(user: Record<string, unknown>, control?: string): Promise<void> {
  sidecar = await testServer({ user });
  await put((await ask()).lease, control);
}

describe('beyond its soft TTL', () => {
  const ttl = { soft: '10s', hard: '60s', jitter: '0%', staleIfError: '1m' };

  it('a value is answered, and one caller gets a lease to load it anew', async () => {
    await filled({ ttl });
    later(12_000);
    const [first, second] = [await ask(), await ask()];
    expect(first).toMatchObject({ status: 200, cacheStatus: 'tidemark; hit; ttl=-2; detail=l1' });
    expect(first.headers.age).toBe('12');
    expect([typeof first.lease, second.status, second.lease]).toEqual(['string', 200, undefined]);
    expect((await put(first.lease)).status).toBe(204);
    expect(await ask()).toMatchObject({ cacheStatus: 'tidemark; hit; ttl=10; detail=l1', lease: undefined });
  });

  it('the same holds in a batch', async () => {
    await filled({ ttl });
    const batch = async (control = ''): Promise<Record<string, unknown>> => {
      const body = JSON.stringify({ get: { user: ['1'] } });
      const answer = await sidecar.ask('POST', '/v1/batch', { body, headers: { 'cache-control': control } });
      return (JSON.parse(answer.body.toString()) as { get: { user: [Record<string, unknown>] } }).get.user[0];
    };
    later(12_000);
    expect(await batch()).toMatchObject({ status: 200, ttl: -2, detail: 'l1', lease: expect.any(String) as string });
    later(60_000);
    expect(await batch('max-stale=70')).toMatchObject({ status: 200, detail: 'stale' });
    expect(await batch('max-stale=1, only-if-cached')).toEqual({ status: 404 });
  });

  it('the offer is made again when nobody took it up', async () => {
    await filled({ ttl });
    later(12_000);
    expect((await ask()).lease).toBeDefined();
    later(2_000);
    expect((await ask()).lease).toBeDefined();
  });

  it('only-if-cached and HEAD are no offer to load', async () => {
    await filled({ ttl });
    later(12_000);
    expect(await ask('only-if-cached')).toMatchObject({ status: 200, lease: undefined });
    expect(await sidecar.ask('HEAD', path)).toMatchObject({ status: 200, lease: undefined });
    expect((await ask()).lease).toBeDefined();
  });

  it('and beyond its hard one it is for those who take it, with what they ask for', async () => {
    await filled({ ttl });
    later(70_000);
    expect(await ask('max-stale=59, only-if-cached')).toMatchObject({ status: 404 });
    expect(await ask()).toMatchObject({ status: 404, cacheStatus: 'tidemark; fwd=stale' });
    const stale = await ask('max-stale=60');
    expect(stale).toMatchObject({ status: 200, cacheStatus: 'tidemark; hit; ttl=-60; detail=stale' });
    // Nothing has changed it, so it says up to where that is known.
    expect(stale.headers['tidemark-lsn']).toBeDefined();
    later(50_000);
    expect(await ask('max-stale, only-if-cached')).toMatchObject({ status: 404 });
  });
});

describe('what a value says of itself', () => {
  it('max-age with stale-while-revalidate and stale-if-error', async () => {
    await filled({}, 'max-age=5, stale-while-revalidate=5');
    expect((await ask()).cacheStatus).toBe('tidemark; hit; ttl=5; detail=l1');
    later(9_000);
    expect((await ask()).cacheStatus).toBe('tidemark; hit; ttl=-4; detail=l1');
    later(1_000);
    expect((await ask('only-if-cached')).cacheStatus).toBe('tidemark; fwd=stale');
  });

  it('max-age alone ends it', async () => {
    await filled({}, 'max-age=5');
    later(5_000);
    expect((await ask()).status).toBe(404);
  });
});

describe('what a caller asks for', () => {
  it.each([
    ['max-age=3', 404, 'tidemark; fwd=request'],
    ['max-age=4', 200, 'tidemark; hit; ttl=56; detail=l1'],
    ['min-fresh=57', 404, 'tidemark; fwd=request'],
    ['min-fresh=56', 200, 'tidemark; hit; ttl=56; detail=l1'],
  ])('%s', async (control, status, cacheStatus) => {
    await filled({});
    later(4_000);
    const answer = await ask(control);
    expect([answer.status, answer.cacheStatus, answer.lease !== undefined]).toEqual([
      ...[status, cacheStatus],
      status === 404,
    ]);
  });

  it.each([
    ['GET', 'no-cache, only-if-cached', 'tidemark; fwd=request'],
    ['HEAD', 'no-cache', 'tidemark; fwd=request'],
    ['HEAD', 'only-if-cached', 'tidemark; hit; ttl=60; detail=l1'],
  ])('%s with %s', async (method, control, cacheStatus) => {
    await filled({});
    const answer = await sidecar.ask(method, path, { headers: { 'cache-control': control } });
    expect(answer).toMatchObject({ status: cacheStatus.includes('hit') ? 200 : 404, cacheStatus, lease: undefined });
    const misses = sidecar.of('user').counters.misses;
    const body = JSON.stringify({ get: { user: ['1'] } });
    const batch = await sidecar.ask('POST', '/v1/batch', { body, headers: { 'cache-control': control } });
    const isNothing = control === 'no-cache, only-if-cached';
    if (isNothing) expect(JSON.parse(batch.body.toString())).toMatchObject({ get: { user: [{ status: 404 }] } });
    expect(sidecar.of('user').counters.misses).toBe(misses + (control.includes('no-cache') ? 1 : 0));
  });

  it.each(['max-age', 'min-fresh=x', 'max-stale=-1', 'stale-if-error'])('%s is refused in words', async (control) => {
    await filled({});
    expect(await ask(control)).toMatchObject({ status: 400, problem: 'bad-request' });
  });
});

describe('what was invalidated', () => {
  const user = { onInvalidate: 'stale', grace: { for: '30s', serve: 'on-request' } };

  it('is answered to those only who take it, marked, without a position, never to a session', async () => {
    await filled(user);
    sidecar.stream.say({ users: ['1'] });
    expect(await ask('only-if-cached')).toMatchObject({ status: 404, cacheStatus: 'tidemark; fwd=miss' });
    const grace = await ask('max-stale=10');
    expect(grace).toMatchObject({
      status: 200,
      cacheStatus: expect.stringMatching(/^tidemark; hit; ttl=\d+; detail=grace$/),
    });
    expect(grace.headers['tidemark-lsn']).toBeUndefined();
    for (const more of [{ 'tidemark-session': 'new' }, { 'tidemark-min-lsn': '0/1' }])
      expect((await ask('max-stale=10, only-if-cached', more)).status).toBe(404);
    later(30_001);
    expect((await ask('max-stale, only-if-cached')).status).toBe(404);
  });

  it('is gone once a value took its place', async () => {
    await filled(user);
    sidecar.stream.say({ users: ['1'] });
    await put((await ask()).lease);
    expect((await ask('max-stale=10')).cacheStatus).toBe('tidemark; hit; ttl=60; detail=l1');
  });
});
