import { afterEach, expect, it } from 'vitest';
import type { Loaded } from '../core/ports.ts';
import { testServer, type Answer, type TestServer } from '../testing/server.ts';
import { loadMark } from './load-mark.ts';

// An endpoint that asks the cache for the very value that it is being asked for.

let sidecar: TestServer;
afterEach(() => sidecar.close());

const nested: Answer[] = [];
let what: (() => Promise<Answer>) | undefined;

async function start(user: Record<string, unknown> = {}): Promise<void> {
  const load = async (): Promise<Loaded> => {
    if (what !== undefined) nested.push(await what());
    return { kind: 'value', body: Buffer.from('loaded'), contentType: 'text/plain', tags: [] };
  };
  nested.length = 0;
  what = undefined;
  const loader = { handles: (key: string) => key !== 'not-mine', load };
  sidecar = await testServer({ user, loaders: { user: loader, plain: loader } });
}

function ask(key: string, of: string, more: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  const headers = { 'tidemark-load': loadMark('user', of), ...more };
  return sidecar.ask(method, `/v1/cache/user/${encodeURIComponent(key)}`, { headers });
}

it.each(['a', 'é/"b"; of=\\', "'%2e"])('is told at once, and the load goes on: %s', async (key) => {
  await start();
  what = () => ask(key, key);
  const path = `/v1/cache/user/${encodeURIComponent(key)}`;
  expect(await sidecar.ask('GET', path)).toMatchObject({ status: 200, body: Buffer.from('loaded') });
  expect(nested).toMatchObject([
    { status: 508, problem: 'load-loop', cacheStatus: 'tidemark; fwd=miss; detail=load-loop' },
  ]);
});

it('is told as well where it would begin a load, in a batch, with no-cache, and while the stream has stalled', async () => {
  await start();
  const batch = (control = ''): Promise<Answer> =>
    sidecar.ask('POST', '/v1/batch', {
      body: JSON.stringify({ get: { user: ['b', 'a'] } }),
      headers: { 'tidemark-load': loadMark('user', 'a'), 'cache-control': control },
    });
  for (const answer of [
    await ask('a', 'a'),
    await ask('a', 'a', {}, 'HEAD'),
    await ask('a', 'a', { 'cache-control': 'no-cache' }),
    await batch(),
    await ask('a', 'a', { 'tidemark-load': `?1;of="user/x", ${loadMark('user', 'a')}` }),
  ])
    expect(answer.status).toBe(508);
  expect((await batch('only-if-cached')).status).toBe(200);
  sidecar.clock.advance(6_000);
  expect(await ask('a', 'a')).toMatchObject({ status: 508, problem: 'load-loop' });
});

it('may ask for what is cached, for other values, and for what it takes only from the cache', async () => {
  await start();
  what = () => {
    what = undefined;
    return ask('b', 'a');
  };
  await sidecar.ask('GET', '/v1/cache/user/a');
  expect(nested).toMatchObject([{ status: 200 }]);
  expect(await ask('a', 'a')).toMatchObject({ status: 200, cacheStatus: expect.stringContaining('hit') as string });
  expect((await ask('a', 'a', { 'cache-control': 'no-cache' })).status).toBe(508);
  expect((await ask('c', 'c', { 'cache-control': 'only-if-cached' })).status).toBe(404);
  expect(await ask('not-mine', 'not-mine')).toMatchObject({ status: 404, lease: expect.any(String) as string });
  expect((await ask('d', 'd', { 'tidemark-load': '?1' })).status).toBe(200);
});

it('may ask for the value of the same key for somebody else', async () => {
  await start({ vary: { headers: ['accept-language'] } });
  what = () => {
    what = undefined;
    return sidecar.ask('GET', '/v1/cache/user/a', {
      headers: { 'accept-language': 'en', 'tidemark-load': loadMark('user', 'another address') },
    });
  };
  await sidecar.ask('GET', '/v1/cache/user/a', { headers: { 'accept-language': 'de' } });
  expect(nested).toMatchObject([{ status: 200 }]);
});
