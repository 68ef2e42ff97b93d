import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Subject } from '../core/variants.ts';
import { testServer, type Answer, type TestServer } from '../testing/server.ts';

let sidecar: TestServer;
const user = { vary: { headers: ['Accept-Language'], identity: ['x-tenant'] } };
beforeEach(async () => {
  sidecar = await testServer({ user });
});
afterEach(() => sidecar.close());

const path = '/v1/cache/user/1';
const A = { 'x-tenant': 'a' };
const B = { 'x-tenant': 'b' };
const get = (headers: Record<string, string>, at = path): Promise<Answer> => sidecar.ask('GET', at, { headers });

async function fill(headers: Record<string, string>, body: string): Promise<Answer> {
  const { lease } = await get({ ...headers, 'cache-control': 'no-cache' });
  return sidecar.ask('PUT', path, { body, headers: { ...headers, 'tidemark-lease': lease! } });
}

describe('values that differ by request headers', () => {
  it('[I20] are answered to those only for whom they were stored', async () => {
    await fill(A, 'of a');
    await fill(B, 'of b');
    expect([(await get(A)).body.toString(), (await get(B)).body.toString()]).toEqual(['of a', 'of b']);
    expect((await get({ ...A, 'accept-language': 'de' })).status).toBe(404);
    expect((await get(A)).headers.vary).toBe('accept-language, x-tenant');
  });

  it('[I20] all fall when their row changes, and with a purge of the key', async () => {
    await fill(A, 'of a');
    await fill(B, 'of b');
    sidecar.stream.say({ users: ['1'] });
    expect([(await get(A)).status, (await get(B)).status]).toEqual([404, 404]);
    await fill(A, 'again');
    sidecar.stream.say({ purges: [{ namespace: 'user', keys: ['1'], tags: [], all: false }] });
    expect((await get({ ...A, 'cache-control': 'only-if-cached' })).status).toBe(404);
  });

  it('[I5] are not stored when the row has changed since the miss', async () => {
    const { lease } = await get(A);
    sidecar.stream.say({ users: ['1'] });
    const put = await sidecar.ask('PUT', path, { body: 'old', headers: { ...A, 'tidemark-lease': lease! } });
    expect(put).toMatchObject({ status: 409, problem: 'fenced' });
  });

  it('[I20] are not stored under the lease of another caller', async () => {
    const { lease } = await get(A);
    const put = await sidecar.ask('PUT', path, { body: 'of b', headers: { ...B, 'tidemark-lease': lease! } });
    expect(put).toMatchObject({ status: 400, problem: 'bad-request' });
    expect((await get({ ...B, 'cache-control': 'only-if-cached' })).status).toBe(404);
  });

  it('[I20] are refused to who does not say for whom he asks', async () => {
    for (const method of ['GET', 'HEAD', 'PUT']) expect(await sidecar.ask(method, path)).toMatchObject({ status: 400 });
    expect(JSON.parse((await get({})).body.toString())).toMatchObject({
      detail:
        'x-tenant: expected this header, because values of namespace "user" differ by it from one caller to another',
    });
    const batch = await sidecar.ask('POST', '/v1/batch', { body: JSON.stringify({ get: { user: ['1'] } }) });
    expect(batch).toMatchObject({ status: 400, problem: 'bad-request' });
  });

  it('[I20] are not to be had by naming the address of another caller as a key', async () => {
    await fill(A, 'of a');
    const [[address]] = sidecar.of('user').l1.recent(1) as [[string]];
    for (const headers of [B, A, {}])
      expect((await get(headers, `/v1/cache/user/${encodeURIComponent(address)}`)).status).not.toBe(200);
  });

  it('are found by a batch with the same headers', async () => {
    await fill(A, 'of a');
    const ask = async (headers: Record<string, string>): Promise<unknown> => {
      const answer = await sidecar.ask('POST', '/v1/batch', {
        headers,
        body: JSON.stringify({ get: { user: ['1'] } }),
      });
      return JSON.parse(answer.body.toString());
    };
    expect(await ask(A)).toMatchObject({ get: { user: [{ status: 200, text: 'of a' }] } });
    expect(await ask(B)).toMatchObject({ get: { user: [{ status: 404 }] } });
  });

  it('may say so by Vary, but not by more than is known', async () => {
    const { lease } = await get(A);
    const put = (vary: string): Promise<Answer> =>
      sidecar.ask('PUT', path, { body: 'x', headers: { ...A, vary, 'tidemark-lease': lease! } });
    expect(await put('cookie')).toMatchObject({ status: 400, problem: 'bad-request' });
    expect((await put('X-Tenant, accept-language')).status).toBe(201);
    const plain = await sidecar.ask('PUT', '/v1/cache/plain/1', { body: 'x', headers: { vary: 'x-tenant' } });
    expect(plain.status).toBe(400);
  });
});

it('a loader is told the key and the headers', async () => {
  await sidecar.close();
  const asked: Subject[] = [];
  sidecar = await testServer({
    user,
    loaders: {
      user: {
        handles: () => true,
        load: (subject) => {
          asked.push({ key: subject.key, headers: subject.headers });
          return Promise.resolve({ kind: 'value', body: Buffer.from('v'), contentType: '', tags: [] });
        },
      },
    },
  });
  expect((await get({ ...A, 'accept-language': 'de' })).status).toBe(200);
  // Headers are bytes: what an origin makes rows, paths and tags of is their text.
  const latin1 = Buffer.from('Zürich').toString('latin1');
  expect((await get({ 'x-tenant': latin1 })).status).toBe(200);
  expect(asked).toEqual([
    { key: '1', headers: { 'accept-language': 'de', 'x-tenant': 'a' } },
    { key: '1', headers: { 'accept-language': '', 'x-tenant': 'Zürich' } },
  ]);
  expect(await get({ 'x-tenant': 'Z\u00fcrich' })).toMatchObject({ status: 400, problem: 'bad-request' });
});
