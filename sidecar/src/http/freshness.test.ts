import { afterEach, describe, expect, it } from 'vitest';
import type { Loaded } from '../core/ports.ts';
import { SESSION_TIMEOUT_MS, testServer, type Answer, type TestServer } from '../testing/server.ts';

// What callers see of soft TTLs, of old values, and of loaders (RFC 9111, 5861, 9211).

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

describe('a namespace that is loaded by the sidecar', () => {
  let answer: Loaded;
  const value = (more: object = {}): Loaded => ({
    ...{ kind: 'value', body: Buffer.from('loaded'), contentType: 'text/plain', tags: [] },
    ...more,
  });
  const start = async (loaded: Loaded, user: Record<string, unknown> = {}): Promise<void> => {
    answer = loaded;
    sidecar = await testServer({
      user,
      loaders: { user: { handles: () => true, load: () => Promise.resolve(answer) } },
    });
  };

  it('answers a miss with the value', async () => {
    await start(value());
    expect(await ask()).toMatchObject({
      ...{ status: 200, body: Buffer.from('loaded'), lease: undefined },
      cacheStatus: 'tidemark; fwd=miss; stored; ttl=60; detail=loaded',
    });
    expect((await ask()).cacheStatus).toBe('tidemark; hit; ttl=60; detail=l1');
  });

  it('answers HEAD too, and 404 for what does not exist', async () => {
    await start({ kind: 'absent' });
    expect(await sidecar.ask('HEAD', path)).toMatchObject({ status: 404 });
    expect(await ask()).toMatchObject({ status: 404, cacheStatus: 'tidemark; hit; ttl=5; detail=negative' });
  });

  it('loads anew for no-cache', async () => {
    await start(value());
    await ask();
    answer = value({ body: Buffer.from('new') });
    expect(await ask('no-cache')).toMatchObject({
      ...{ status: 200, body: Buffer.from('new'), cacheStatus: 'tidemark; fwd=request; stored; ttl=60; detail=loaded' },
    });
    expect((await ask()).body.toString()).toBe('new');
    later(3_000);
    expect((await ask('max-age=2')).cacheStatus).toBe('tidemark; fwd=request; stored; ttl=60; detail=loaded');
    later(60_000);
    answer = { kind: 'failed', why: 'timeout', detail: 'what was found' };
    expect((await ask()).cacheStatus).toBe('tidemark; fwd=stale; detail=timeout');
  });

  it.each([{ ttl: { hard: '60s', staleIfError: '1h' } }, { onInvalidate: 'stale', grace: { serve: 'always' } }])(
    'gives no old value to no-cache where it cannot be loaded, unless the request says so: %j',
    async (user) => {
      await start(value(), user);
      await ask();
      if ('grace' in user) sidecar.stream.say({ users: ['1'] });
      answer = { kind: 'failed', why: 'timeout', detail: 'too slow' };
      expect(await ask('no-cache')).toMatchObject({ status: 504, problem: 'timeout' });
      expect(await ask('no-cache, stale-if-error=9')).toMatchObject({ status: 200, body: Buffer.from('loaded') });
    },
  );

  it('keeps nothing of a value that may not be stored', async () => {
    await start(value({ maxAgeMs: 0 }));
    for (let i = 0; i < 2; i += 1)
      expect(await ask()).toMatchObject({
        ...{ status: 200, cacheStatus: expect.stringMatching(/^tidemark; fwd=miss; ttl=0; detail=passed$/) },
      });
    expect(sidecar.of('user').l1.entries).toBe(0);
  });

  it.each<[Extract<Loaded, { kind: 'failed' }>['why'], number, string]>([
    ['timeout', 504, 'timeout'],
    ['unavailable', 503, 'unavailable'],
    ['open', 503, 'unavailable'],
    ['busy', 503, 'unavailable'],
    ['error', 502, 'upstream-failed'],
    ['too-large', 502, 'upstream-failed'],
  ])('says that it failed: %s', async (why, status, problem) => {
    await start({ kind: 'failed', why, detail: 'what was found' });
    const failed = await ask();
    expect(failed).toMatchObject({ status, problem, cacheStatus: `tidemark; fwd=miss; detail=${why}` });
    expect(JSON.parse(failed.body.toString())).toMatchObject({ detail: 'what was found' });
    expect(failed.headers['retry-after']).toBe(status === 503 ? '1' : undefined);
  });

  describe('while the cache can answer nothing', () => {
    const stall = (): void => sidecar.clock.advance(6_000);

    it('is read for each caller, and nothing of it is kept', async () => {
      await start(value());
      await ask();
      stall();
      answer = value({ body: Buffer.from('new') });
      const passed = await ask();
      expect(passed).toMatchObject({
        ...{ status: 200, body: Buffer.from('new') },
        cacheStatus: 'tidemark; fwd=bypass; fwd-status=200; detail=stalled',
      });
      expect(passed.headers['tidemark-lsn']).toBeUndefined();
      sidecar.stream.say();
      expect((await ask()).body.toString()).toBe('loaded');
    });

    it('says what does not exist, and what failed', async () => {
      await start({ kind: 'absent' });
      stall();
      expect(await ask()).toMatchObject({
        ...{ status: 404, cacheStatus: 'tidemark; fwd=bypass; fwd-status=404; detail=stalled' },
      });
      answer = { kind: 'failed', why: 'timeout', detail: 'too slow' };
      expect(await ask()).toMatchObject({ status: 504, problem: 'timeout' });
    });

    it('is read so by a batch too, and without its position where that cannot be waited for', async () => {
      await start(value());
      const batch = async (headers: Record<string, string> = {}, more: object = {}): Promise<unknown> => {
        const body = JSON.stringify({ ...more, get: { user: ['1'], plain: ['1'] } });
        return JSON.parse((await sidecar.ask('POST', '/v1/batch', { body, headers })).body.toString());
      };
      const passed = { get: { user: [{ status: 200, text: 'loaded', detail: 'passed' }], plain: [{ status: 404 }] } };
      const behind = batch({ 'tidemark-session': '1~main~9~1' });
      await expect.poll(() => sidecar.watermark.waiting).toBe(1);
      sidecar.clock.advance(SESSION_TIMEOUT_MS);
      expect(await behind).toMatchObject({ get: { user: passed.get.user } });
      stall();
      expect(await batch()).toMatchObject(passed);
      expect(await batch({ 'cache-control': 'only-if-cached' })).toMatchObject({
        get: { user: [{ status: 404, bypass: 'stalled' }] },
      });
      answer = { kind: 'failed', why: 'timeout', detail: 'too slow' };
      expect(await batch()).toMatchObject({ get: { user: [{ status: 504, problem: 'timeout' }] } });
      expect(sidecar.of('user').l1.entries).toBe(0);
    });

    it('makes no snapshot, for each value is as new as it may be', async () => {
      await start(value());
      stall();
      const body = JSON.stringify({ consistency: 'snapshot', get: { user: ['1', '2'] } });
      const found = await sidecar.ask('POST', '/v1/batch', { body });
      expect(JSON.parse(found.body.toString())).toMatchObject({
        ...{ snapshot: null, why: 'missing', get: { user: [{ detail: 'passed' }, { detail: 'passed' }] } },
      });
    });

    it('gives nothing that was read from a standby, and nothing to who takes only what is cached', async () => {
      await start(value({ sourceLsn: 1 }));
      stall();
      expect(await ask()).toMatchObject({ status: 503, problem: 'unavailable' });
      expect(await ask('only-if-cached')).toMatchObject({
        status: 404,
        cacheStatus: 'tidemark; fwd=bypass; detail=stalled',
      });
    });

    it('leaves a session open for what it was shown', async () => {
      await start(value());
      stall();
      const shown = await ask(undefined, { 'tidemark-session': 'new' });
      expect([shown.status, shown.session?.endsWith('~*')]).toEqual([200, true]);
    });
  });

  it('says so in a batch as well', async () => {
    await start({ kind: 'failed', why: 'open', detail: 'it rests' });
    const batch = await sidecar.ask('POST', '/v1/batch', { body: JSON.stringify({ get: { user: ['1'] } }) });
    expect(JSON.parse(batch.body.toString())).toMatchObject({
      get: { user: [{ status: 503, problem: 'unavailable', why: 'it rests' }] },
    });
  });
});
