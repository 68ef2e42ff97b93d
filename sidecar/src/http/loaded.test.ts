import { afterEach, describe, expect, it } from 'vitest';
import type { Loaded } from '../core/ports.ts';
import { SESSION_TIMEOUT_MS, testServer, type Answer, type TestServer } from '../testing/server.ts';

// What callers see where the sidecar loads: what it says of loads, of old values instead of them, and while it can answer nothing.

let sidecar: TestServer;
afterEach(() => sidecar.close());

const path = '/v1/cache/user/1';
const ask = (control?: string, more: Record<string, string> = {}): Promise<Answer> =>
  sidecar.ask('GET', path, { headers: { ...(control !== undefined && { 'cache-control': control }), ...more } });
const later = (ms: number): void => {
  sidecar.clock.advance(ms);
  sidecar.stream.say();
};

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
