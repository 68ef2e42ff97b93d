import { formatLsn } from '@tidemark/proto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SESSION_TIMEOUT_MS, testServer, type TestServer } from '../testing/server.ts';

let sidecar: TestServer;
beforeEach(async () => {
  sidecar = await testServer();
});
afterEach(() => sidecar.close());

type Found = Readonly<Record<string, unknown>> & { status: number; lease?: string };
interface BatchReply {
  readonly status: number;
  readonly problem: string | undefined;
  readonly session: string | undefined;
  readonly detail: string;
  readonly lsn: string;
  readonly snapshot?: string | null;
  readonly why?: string;
  readonly put: readonly Found[];
  readonly get: Readonly<Record<string, readonly Found[]>>;
}

async function batch(body: unknown, headers: Record<string, string> = {}): Promise<BatchReply> {
  const answer = await sidecar.ask('POST', '/v1/batch', {
    headers,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const { status, problem, session } = answer;
  return { ...(JSON.parse(answer.body.toString()) as BatchReply), status, problem, session };
}

/** Stores values under fresh leases. */
async function fill(keys: readonly string[], more: object = {}): Promise<BatchReply> {
  const { get } = await batch({ get: { user: keys } }, { 'cache-control': 'no-cache' });
  const put = keys.map((key, i) => ({
    namespace: 'user',
    key,
    lease: get['user']?.[i]?.lease,
    text: `v${key}`,
    ...more,
  }));
  return batch({ put });
}

describe('a batch', () => {
  it('stores and reads in one round trip, each for itself', async () => {
    const { get } = await batch({ get: { user: ['1', 'ü/2', '3'] } });
    const [one, two] = get['user']!;
    const put = [
      { namespace: 'user', key: '1', lease: one?.lease, text: 'eins', contentType: 'text/plain', tags: ['t u'] },
      { namespace: 'user', key: 'ü/2', lease: two?.lease, base64: '/wA=' },
      { namespace: 'user', key: '3', lease: 'made-up', text: '' },
      { namespace: 'user', key: '4', text: '' },
      { namespace: 'plain', key: '1', absent: true },
    ];
    const answer = await batch({ put, get: { user: ['ü/2', '1', '1', '9'], plain: ['1', '2'] } });
    expect(answer.put).toEqual([
      { status: 201 },
      { status: 201 },
      { status: 410, problem: 'lease-expired' },
      { status: 428, problem: 'lease-required' },
      { status: 201 },
    ]);
    const common = { status: 200, age: 0, ttl: 60, detail: 'l1', etag: expect.any(String) as string };
    const first = { ...common, text: 'eins', contentType: 'text/plain' };
    expect(answer.get['user']).toEqual([
      { ...common, base64: '/wA=', contentType: 'application/octet-stream' },
      first,
      first,
      { status: 404, lease: expect.any(String) as string },
    ]);
    expect(answer.get['plain']).toEqual([{ status: 404, absent: true, age: 0, ttl: 5, detail: 'l1' }, { status: 404 }]);
    expect([answer.lsn, answer.snapshot]).toEqual([formatLsn(sidecar.stream.to), undefined]);
    expect((await sidecar.ask('GET', '/v1/cache/user/%C3%BC%2F2')).body).toEqual(Buffer.from([255, 0]));
  });

  it('never answers what was invalidated while it waited for the rest', async () => {
    await fill(['1', '2']);
    const { lease } = await sidecar.ask('GET', '/v1/cache/user/slow');
    const waiting = batch({ get: { user: ['1', '2', 'slow'] } });
    await expect.poll(() => sidecar.coalescer.waiting).toBe(1);
    sidecar.stream.say({ users: ['1'] });
    await sidecar.ask('PUT', '/v1/cache/user/slow', { body: 'at last', headers: { 'tidemark-lease': lease! } });
    const { get } = await waiting;
    expect(get['user']).toMatchObject([
      { status: 404, lease: expect.any(String) as string },
      { status: 200, text: 'v2' },
      { status: 200, text: 'at last', detail: 'coalesced' },
    ]);
  });

  it('does not wait for itself where it names a missing key twice', async () => {
    const { get } = await batch({ get: { user: ['1', '2', '1'] } });
    const [one, two, again] = get['user']!;
    expect([one, two]).toMatchObject([{ status: 404, lease: expect.any(String) as string }, { status: 404 }]);
    expect(again).toEqual(one);
    expect(two?.lease).not.toBe(one?.lease);
  });

  it('answers as much as has room, and what is alone in any case', async () => {
    await sidecar.close();
    sidecar = await testServer({ maxItemBytes: '3MiB', l1Bytes: '16MiB' });
    await fill(['1'], { text: undefined, base64: Buffer.alloc(2_500_000, 255).toString('base64') });
    await fill(['2'], { text: 'x'.repeat(2_500_000) });
    const { get } = await batch({ get: { user: ['1', '2', '3'] } });
    expect(get['user']!.map(({ status }) => status)).toEqual([200, 413, 404]);
  });

  it.each([
    ['{', 'expected JSON'],
    ['[]', 'body: expected an object'],
    [{}, 'found 0 keys'],
    [{ get: { user: Array.from({ length: 1001 }, String) } }, 'at most 1000'],
    [{ more: 1, get: { user: ['1'] } }, 'found "more"'],
    [{ get: { user: [1] } }, 'get.user.0: expected a text'],
    [{ get: { user: [''] } }, 'get.user.0: expected a text'],
    [{ get: { user: ['\uD800'] } }, 'get.user.0: expected a text'],
    [{ get: { user: ['x'.repeat(513)] } }, 'get.user.0: the key has 513 bytes'],
    [{ consistency: 'strong', get: { user: ['1'] } }, 'consistency: expected "snapshot"'],
    [{ consistency: 'snapshot', get: { plain: ['1'] } }, 'is ttl_only'],
    [{ put: [{ namespace: 'user', key: '1' }] }, 'put.0: expected one of text, base64'],
    [{ put: [{ namespace: 'user', key: '1', text: '', absent: true }] }, 'put.0: expected one of'],
    [{ put: [{ namespace: 'user', key: '1', base64: 'a' }] }, 'put.0.base64'],
    [{ put: [{ namespace: 'user', key: '1', text: '', maxAge: 0 }] }, 'put.0.maxAge'],
    [{ put: [{ namespace: 'user', key: '1', text: '', staleIfError: -1 }] }, 'put.0.staleIfError'],
    [{ put: [{ namespace: 'user', key: '1', text: '', loadedAt: 'x' }] }, 'put.0.loadedAt'],
    [{ put: [{ namespace: 'user', key: '1', text: '', contentType: 'a\nb' }] }, 'put.0.contentType'],
    [{ put: [{ namespace: 'user', key: '1', text: '', tags: ['x'.repeat(513)] }] }, 'put.0.tags'],
    [{ put: [{ namespace: 'user', key: '1', text: '', x: 1 }] }, 'put.0: found "x"'],
  ])('400: %j', async (body, detail) => {
    const answer = await batch(body);
    expect([answer.status, answer.problem, answer.detail]).toEqual([
      400,
      'bad-request',
      expect.stringContaining(detail),
    ]);
  });

  it('404 for a namespace that is not there, whatever its name', async () => {
    for (const name of ['nowhere', '__proto__', 'constructor'])
      expect(await batch(`{"get":{"${name}":["1"]}}`)).toMatchObject({ status: 404, problem: 'unknown-namespace' });
  });

  it('413 for what is larger than a batch may be', async () => {
    expect(await batch(' '.repeat(4 * 1024 * 1024 + 1))).toMatchObject({ status: 413, problem: 'too-large' });
  });

  it('does not wait for a caller that is gone', async () => {
    await sidecar.ask('GET', '/v1/cache/user/1');
    const body = '{"get":{"user":["1"]}}';
    const closed = sidecar.raw(`POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await expect.poll(() => sidecar.coalescer.waiting).toBe(1);
    sidecar.server.closeAllConnections();
    await closed;
    await expect.poll(() => sidecar.coalescer.waiting).toBe(0);
  });

  it('[I14] belongs to a session as a whole', async () => {
    const miss = await batch({ get: { user: ['1', '2'] } }, { 'tidemark-session': 'new' });
    expect(miss.session).toMatch(/~\*$/);
    const lease = miss.get['user']![0]!.lease;
    const put = [{ namespace: 'user', key: '1', lease, text: 'x', loadedAt: formatLsn(sidecar.stream.to + 3) }];
    const ahead = await batch({ put }, { 'tidemark-session': 'new' });
    const waiting = batch({ get: { user: ['1'] } }, { 'tidemark-session': ahead.session! });
    await expect.poll(() => sidecar.watermark.waiting).toBe(1);
    sidecar.stream.say();
    expect((await waiting).get['user']).toMatchObject([{ status: 200, text: 'x' }]);
    const never = batch({ get: { user: ['1'] } }, { 'tidemark-session': '1~main~2~1' });
    await expect.poll(() => sidecar.watermark.waiting).toBe(1);
    sidecar.clock.advance(SESSION_TIMEOUT_MS);
    expect((await never).get['user']).toEqual([{ status: 404, bypass: 'behind' }]);
  });
});

describe('[I15] a snapshot', () => {
  const snapshot = (...keys: string[]) => batch({ consistency: 'snapshot', get: { user: keys } });

  it('is taken once W has passed the newest load', async () => {
    await fill(['1', '2'], { loadedAt: formatLsn(sidecar.stream.to + 3) });
    const waiting = snapshot('1', '2');
    await expect.poll(() => sidecar.watermark.waiting).toBe(1);
    sidecar.stream.say();
    expect(await waiting).toMatchObject({
      snapshot: formatLsn(sidecar.stream.to),
      get: { user: [{ text: 'v1' }, { text: 'v2' }] },
    });
    expect(sidecar.watermark.waiting).toBe(0);
  });

  it('asks how new a value is where its loader did not say', async () => {
    await fill(['1']);
    expect(await snapshot('1')).toMatchObject({ snapshot: formatLsn(sidecar.stream.to) });
    expect(sidecar.positions.asked).toBe(1);
    expect(await snapshot('1')).toMatchObject({ snapshot: formatLsn(sidecar.stream.to) });
    expect(sidecar.positions.asked).toBe(1);
  });

  it('is not to be had without what is missing, whose leases it answers', async () => {
    await fill(['1']);
    expect(await snapshot('1', '2')).toMatchObject({
      snapshot: null,
      why: 'missing',
      get: { user: [{ status: 200 }, { status: 404, lease: expect.any(String) as string }] },
    });
  });

  it('does not hold what changed while it waited', async () => {
    await fill(['1', '2'], { loadedAt: formatLsn(sidecar.stream.to + 3) });
    const waiting = snapshot('1', '2');
    await expect.poll(() => sidecar.watermark.waiting).toBe(1);
    sidecar.stream.say({ users: ['2'] });
    expect(await waiting).toMatchObject({
      snapshot: null,
      why: 'missing',
      get: { user: [{ text: 'v1' }, { status: 404, lease: expect.any(String) as string }] },
    });
  });

  it('gives up in time, with the values that it has', async () => {
    await fill(['1'], { loadedAt: formatLsn(sidecar.stream.to + 3) });
    await sidecar.close();
    const waiting = new Promise((resolve) => {
      const namespace = sidecar.of('user');
      const settle = resolve;
      sidecar.batches.read({ items: [{ namespace, key: '1' }], mode: 'usual', snapshot: true, settle });
    });
    expect(sidecar.watermark.waiting).toBe(1);
    sidecar.clock.advance(SESSION_TIMEOUT_MS);
    expect(await waiting).toMatchObject({ snapshot: { failed: 'behind' }, outcomes: [{ kind: 'value' }] });
    expect([sidecar.watermark.waiting, sidecar.clock.timers]).toEqual([0, 0]);
    sidecar = await testServer();
  });

  it('does not believe a load from beyond where the database is', async () => {
    await fill(['1'], { loadedAt: 'FFFFF/0' });
    const waiting = snapshot('1');
    await expect.poll(() => sidecar.watermark.waiting).toBe(1);
    sidecar.clock.advance(20);
    expect(await waiting).toMatchObject({ snapshot: formatLsn(sidecar.stream.to) });
  });
});

it('[I15] there is no snapshot where nobody can say how new a value is', async () => {
  await sidecar.close();
  sidecar = await testServer({ position: () => Promise.resolve({ failed: 'away' }) });
  await fill(['1']);
  expect(await batch({ consistency: 'snapshot', get: { user: ['1'] } })).toMatchObject({
    snapshot: null,
    why: 'no-position',
    get: { user: [{ status: 200, text: 'v1' }] },
  });
});
