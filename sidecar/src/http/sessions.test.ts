import { formatLsn } from '@tidemark/proto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseSession } from '../core/session-token.ts';
import { SESSION_TIMEOUT_MS, testServer, type Answer, type TestServer } from '../testing/server.ts';

let sidecar: TestServer;
beforeEach(async () => {
  sidecar = await testServer();
});
afterEach(() => sidecar.close());

const path = (key: string, namespace = 'user'): string => `/v1/cache/${namespace}/${key}`;
const seen = ({ session }: Answer) => parseSession(session ?? 'no token').get('main');

async function fill(key: string, headers: Record<string, string> = {}, namespace = 'user'): Promise<Answer> {
  const { lease } = await sidecar.ask('GET', path(key, namespace), { headers: { 'cache-control': 'no-cache' } });
  return sidecar.ask('PUT', path(key, namespace), {
    body: 'value',
    headers: { ...(lease && { 'tidemark-lease': lease }), ...headers },
  });
}

describe('[I14] Tidemark-Session', () => {
  it('is answered to every request that has one, and to no other', async () => {
    const headers = { 'tidemark-session': 'new' };
    const miss = await sidecar.ask('GET', path('1'), { headers });
    expect(seen(miss)).toMatchObject({ pending: miss.lease });
    const put = await sidecar.ask('PUT', path('1'), {
      body: 'x',
      headers: {
        'tidemark-session': miss.session!,
        'tidemark-lease': miss.lease!,
        'tidemark-loaded-at': formatLsn(sidecar.stream.to),
      },
    });
    expect([put.status, seen(put)]).toEqual([201, { epoch: 1, lsn: sidecar.stream.to, pending: undefined }]);
    const hit = await sidecar.ask('GET', path('1'), { headers: { 'tidemark-session': put.session! } });
    expect([hit.status, hit.session]).toEqual([200, put.session]);
    const purge = await sidecar.ask('DELETE', path('1'), { headers });
    expect([purge.status, seen(purge)?.lsn]).toEqual([204, sidecar.stream.to]);
    const all = await sidecar.ask('POST', '/v1/purge', {
      headers,
      body: '{"purge":[{"namespace":"user","all":true}]}',
    });
    expect([all.status, seen(all)?.lsn]).toEqual([204, sidecar.stream.to]);
    const without = await Promise.all([
      sidecar.ask('GET', path('1')),
      fill('2'),
      sidecar.ask('GET', path('2')),
      sidecar.ask('GET', path('2'), { headers: { 'tidemark-min-lsn': '0/1' } }),
    ]);
    expect(without.map(({ session }) => session)).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('tells a fill that is refused how far the caller has seen all the same', async () => {
    const { lease } = await sidecar.ask('GET', path('1'));
    sidecar.stream.say({ users: ['1'] });
    const headers = { 'tidemark-session': 'new', 'tidemark-lease': lease!, 'tidemark-loaded-at': 'A/0' };
    const refused = await sidecar.ask('PUT', path('1'), { body: 'old', headers });
    expect([refused.status, refused.problem, seen(refused)?.lsn]).toEqual([409, 'fenced', 0xa_0000_0000]);
  });

  it('waits with the read, and says why it was not answered from the cache in time', async () => {
    await fill('1', { 'tidemark-loaded-at': '0/1' });
    const ahead = `1~main~1~${(sidecar.stream.to + 10).toString(16).toUpperCase()}`;
    const waiting = sidecar.ask('GET', path('1'), { headers: { 'tidemark-session': ahead } });
    await expect.poll(() => sidecar.watermark.waiting).toBe(1);
    sidecar.stream.say();
    expect(await waiting).toMatchObject({ status: 200, session: ahead });
    const never = sidecar.ask('GET', path('1'), { headers: { 'tidemark-session': '1~main~2~1' } });
    await expect.poll(() => sidecar.watermark.waiting).toBe(1);
    sidecar.clock.advance(SESSION_TIMEOUT_MS);
    expect(await never).toMatchObject({
      status: 404,
      cacheStatus: 'tidemark; fwd=bypass; detail=behind',
      lease: undefined,
      session: '1~main~2~1~*',
    });
  });

  it('does not wait for a caller that is gone', async () => {
    const headers = `GET ${path('1')} HTTP/1.1\r\nHost: x\r\nTidemark-Session: 1~main~2~1\r\n\r\n`;
    const closed = sidecar.raw(headers);
    await expect.poll(() => sidecar.watermark.waiting).toBe(1);
    sidecar.server.closeAllConnections();
    await closed;
    await expect.poll(() => sidecar.watermark.waiting).toBe(0);
    expect(sidecar.clock.timers).toBe(0);
  });

  it('does not hold up who loads anyway', async () => {
    const headers = { 'tidemark-session': '1~main~2~1', 'cache-control': 'no-cache' };
    expect(await sidecar.ask('GET', path('1'), { headers })).toMatchObject({
      status: 404,
      lease: expect.any(String) as string,
    });
  });

  it('travels through ttl_only namespaces untouched', async () => {
    const headers = { 'tidemark-session': '1~main~2~1' };
    const answers = [
      await sidecar.ask('GET', path('1', 'plain'), { headers }),
      await fill('1', headers, 'plain'),
      await sidecar.ask('GET', path('1', 'plain'), { headers }),
      await sidecar.ask('DELETE', path('1', 'plain'), { headers }),
    ];
    expect(answers.map(({ status, session }) => [status, session])).toEqual(
      [404, 201, 200, 204].map((status) => [status, '1~main~2~1']),
    );
  });
});

describe('[I14] Tidemark-Min-Lsn', () => {
  it('waits until the position was applied', async () => {
    await fill('1');
    const headers = { 'tidemark-min-lsn': formatLsn(sidecar.stream.to + 5) };
    const waiting = sidecar.ask('GET', path('1'), { headers });
    await expect.poll(() => sidecar.watermark.waiting).toBe(1);
    sidecar.stream.say({ users: ['1'] });
    expect(await waiting).toMatchObject({ status: 404, lease: expect.any(String) as string });
  });
});

it.each([
  ['Tidemark-Min-Lsn', 'soon'],
  ['Tidemark-Min-Lsn', '1:'],
  ['Tidemark-Min-Lsn', '0/1, 0/2'],
  ['Tidemark-Session', '0/1'],
  ['Tidemark-Session', '1~main~1~x'],
])('400 to %s: %s', async (name, value) => {
  const answer = await sidecar.ask('GET', path('1'), { headers: { [name]: value } });
  expect([answer.status, answer.problem, answer.body.toString()]).toEqual([
    400,
    'bad-request',
    expect.stringContaining(name),
  ]);
});

it('400 to Tidemark-Min-Lsn in a ttl_only namespace, and to a load position that is none', async () => {
  const plain = await sidecar.ask('GET', path('1', 'plain'), { headers: { 'tidemark-min-lsn': '0/1' } });
  const load = await fill('1', { 'tidemark-loaded-at': 'now' });
  expect([plain, load].map(({ status, problem }) => [status, problem])).toEqual([
    [400, 'bad-request'],
    [400, 'bad-request'],
  ]);
});
