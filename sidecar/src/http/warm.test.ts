import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Loaded } from '../core/ports.ts';
import type { WarmJob } from '../core/warm-job.ts';
import { testServer, type TestServer } from '../testing/server.ts';

let sidecar: TestServer;
beforeEach(async () => {
  const load = ({ key }: { key: string }): Promise<Loaded> =>
    Promise.resolve({ kind: 'value', body: Buffer.from(key), contentType: 'text/plain', tags: [] });
  sidecar = await testServer({ loaders: { user: { handles: () => true, load } }, user: { warm: { most: 2 } } });
});
afterEach(() => sidecar.close());

const order = (body: unknown) =>
  sidecar.ask('POST', '/v1/warm', { body: typeof body === 'string' ? body : JSON.stringify(body) });
const shown = async (path: string): Promise<unknown> =>
  JSON.parse((await sidecar.ask('GET', path)).body.toString()) as unknown;

it('begins a warming, shows it, and what it read is a hit', async () => {
  const answer = await order({ namespace: 'user', keys: ['1', '2', '3'] });
  const { id } = JSON.parse(answer.body.toString()) as { id: string };
  expect([answer.status, answer.headers.location]).toEqual([202, `/v1/warm/${id}`]);
  await expect
    .poll(async () => {
      sidecar.clock.advance(10);
      return shown(`/v1/warm/${id}`);
    })
    .toMatchObject({ id, namespace: 'user', by: 'request', state: 'ended', end: 'done', total: 3, done: 3 });
  expect((await shown('/v1/warm')) as { warmings: readonly WarmJob[] }).toMatchObject({ warmings: [{ id }] });
  const read = await sidecar.ask('GET', '/v1/cache/user/2');
  expect([read.body.toString(), read.cacheStatus]).toEqual(['2', expect.stringContaining('; detail=l1')]);
});

it('ends one, or all', async () => {
  const keys = Array.from({ length: 1000 }, (_, i) => String(i));
  const ids: string[] = [];
  for (let i = 0; i < 3; i += 1)
    ids.push((JSON.parse((await order({ namespace: 'user', keys })).body.toString()) as { id: string }).id);
  expect((await sidecar.ask('DELETE', `/v1/warm/${ids[1]}`)).status).toBe(204);
  expect(await shown(`/v1/warm/${ids[1]}`)).toMatchObject({ state: 'ended', end: 'cancelled' });
  expect((await sidecar.ask('DELETE', '/v1/warm')).status).toBe(204);
  const { warmings } = (await shown('/v1/warm')) as { warmings: readonly WarmJob[] };
  expect(warmings.map(({ end }) => end)).toEqual(['cancelled', 'cancelled', 'cancelled']);
});

it.each<[unknown, number, string]>([
  ['no JSON', 400, 'bad-request'],
  [{ namespace: 'user' }, 400, 'bad-request'],
  [{ namespace: 'user', keys: ['1'], hot: 3 }, 400, 'bad-request'],
  [{ namespace: 'user', keys: [''] }, 400, 'bad-request'],
  [{ namespace: 'user', keys: [1] }, 400, 'bad-request'],
  [{ namespace: 'user', hot: 0 }, 400, 'bad-request'],
  [{ namespace: 'user', sql: false }, 400, 'bad-request'],
  [{ namespace: 'user', sql: true }, 400, 'bad-request'],
  [{ namespace: 'user', keys: ['1'], more: 1 }, 400, 'bad-request'],
  [{ namespace: 'nothing', keys: ['1'] }, 404, 'unknown-namespace'],
  ['x'.repeat(9 * 1024 * 1024), 413, 'too-large'],
])('refuses %j', async (body, status, problem) => {
  const answer = await order(body);
  expect([answer.status, answer.problem]).toEqual([status, problem]);
  expect(sidecar.of('user').flights.size).toBe(0);
});

it.each([
  ['GET', '/v1/warm/unknown', 404],
  ['DELETE', '/v1/warm/unknown', 404],
  ['POST', '/v1/warm/unknown', 405],
  ['PUT', '/v1/warm', 405],
  ['GET', '/v1/warm/a/b', 404],
])('answers %s %s with %i', async (method, path, status) => {
  expect((await sidecar.ask(method, path)).status).toBe(status);
});
