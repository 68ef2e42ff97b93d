import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { testServer, type Answer, type TestServer } from '../testing/server.ts';

let sidecar: TestServer;
beforeEach(async () => {
  sidecar = await testServer({ maxItemBytes: '1KiB' });
});
afterEach(() => sidecar.close());

const path = (key: string, namespace = 'user'): string => `/v1/cache/${namespace}/${key}`;
const leaseFor = async (key: string, namespace = 'user'): Promise<string> =>
  (await sidecar.ask('GET', path(key, namespace), { headers: { 'cache-control': 'no-cache' } })).lease as string;

async function put(
  key: string,
  more: { headers?: Record<string, string | string[]>; body?: string | Uint8Array; namespace?: string } = {},
): Promise<Answer> {
  const lease = await leaseFor(key, more.namespace);
  return sidecar.ask('PUT', path(key, more.namespace), {
    body: more.body ?? 'value',
    headers: { 'tidemark-lease': lease, ...more.headers },
  });
}

describe('[I5] PUT is refused', () => {
  it('without a lease: 428', async () => {
    expect(await sidecar.ask('PUT', path('1'), { body: 'one' })).toMatchObject({
      status: 428,
      problem: 'lease-required',
    });
  });

  it('with a lease that is unknown, used, or too old: 410', async () => {
    const ask = (lease: string) => sidecar.ask('PUT', path('1'), { body: 'one', headers: { 'tidemark-lease': lease } });
    expect(await ask('made-up')).toMatchObject({ status: 410, problem: 'lease-expired' });
    const lease = await leaseFor('1');
    expect((await ask(lease)).status).toBe(201);
    expect((await ask(lease)).status).toBe(410);
    const old = await leaseFor('1');
    sidecar.clock.advance(10_001);
    sidecar.stream.say();
    expect((await ask(old)).status).toBe(410);
  });

  it('with a lease for another key: 400', async () => {
    const lease = await leaseFor('1');
    expect(await sidecar.ask('PUT', path('2'), { body: 'one', headers: { 'tidemark-lease': lease } })).toMatchObject({
      status: 400,
      problem: 'bad-request',
    });
  });

  it('when the key, a tag or the namespace changed since the miss: 409', async () => {
    const byKey = await leaseFor('1');
    const byTag = await leaseFor('all', 'list');
    const other = await leaseFor('2');
    sidecar.stream.say({ users: ['1'] });
    const answers = await Promise.all([
      sidecar.ask('PUT', path('1'), { body: 'old', headers: { 'tidemark-lease': byKey } }),
      sidecar.ask('PUT', path('all', 'list'), {
        body: 'old',
        headers: { 'tidemark-lease': byTag, 'surrogate-key': 'user:7 user:1' },
      }),
      sidecar.ask('PUT', path('2'), { body: 'unchanged', headers: { 'tidemark-lease': other } }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([409, 409, 201]);
    expect(answers[0].problem).toBe('fenced');
  });

  it('when the replica that was read is older than a change: 409', async () => {
    sidecar.stream.say({ users: ['1'] });
    const changedAt = sidecar.stream.to - 5;
    const lsn = (position: number): string => `0/${position.toString(16)}`;
    expect((await put('1', { headers: { 'source-lsn': lsn(changedAt - 1) } })).status).toBe(409);
    expect((await put('1', { headers: { 'source-lsn': lsn(changedAt) } })).status).toBe(201);
    // A replica that is further than the primary seems to be lends nothing to the lease.
    const lease = await leaseFor('1');
    sidecar.stream.say({ users: ['1'] });
    expect(
      (await sidecar.ask('PUT', path('1'), { body: 'x', headers: { 'tidemark-lease': lease, 'source-lsn': 'FF/0' } }))
        .status,
    ).toBe(409);
  });

  it('when it says that it may not be stored, and the next in line gets the lease', async () => {
    for (const field of ['no-store', 'max-age=0']) {
      const { lease } = await sidecar.ask('GET', path(field));
      const waiting = sidecar.ask('GET', path(field));
      await expect.poll(() => sidecar.coalescer.waiting).toBe(1);
      const answer = await sidecar.ask('PUT', path(field), {
        body: 'x',
        headers: { 'tidemark-lease': lease!, 'cache-control': field },
      });
      expect(answer).toMatchObject({ status: 400, problem: 'bad-request' });
      expect(await waiting).toMatchObject({ status: 404, lease: expect.any(String) as string });
    }
  });
});

it.each(['if-match', 'if-none-match', 'content-range', 'content-encoding'])(
  'a write that %s would make another one is refused, not done',
  async (field) => {
    const answer = await put('1', { headers: { [field]: '*' } });
    expect(answer).toMatchObject({ status: 400, problem: 'bad-request' });
    expect(answer.body.toString()).toContain(`${field}: this is not supported here`);
    if (field.startsWith('if-'))
      expect(await sidecar.ask('DELETE', path('1'), { headers: { [field]: '*' } })).toMatchObject({ status: 400 });
  },
);

describe('a body that is too large: 413', () => {
  it('is refused before any of it was sent, where its length is known', async () => {
    const lease = await leaseFor('1');
    const answer = await sidecar.raw(
      `PUT ${path('1')} HTTP/1.1\r\nHost: x\r\nTidemark-Lease: ${lease}\r\nContent-Length: 2000000\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toContain('urn:tidemark:problem:too-large');
  });

  it('is not asked for at all from a caller that waits for 100 Continue', async () => {
    const lease = await leaseFor('1');
    const head = `PUT ${path('1')} HTTP/1.1\r\nHost: x\r\nTidemark-Lease: ${lease}\r\nExpect: 100-continue\r\nConnection: close\r\n`;
    expect(await sidecar.raw(`${head}Content-Length: 2000\r\n\r\n`)).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('is noticed while it streams', async () => {
    const lease = await leaseFor('1');
    const chunk = `400\r\n${'x'.repeat(0x400)}\r\n`;
    const answer = await sidecar.raw(
      `PUT ${path('1')} HTTP/1.1\r\nHost: x\r\nTidemark-Lease: ${lease}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunk}${chunk}0\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('is not read to its end', async () => {
    const lease = await leaseFor('1');
    const endless = Buffer.alloc(4 * 1024 * 1024, 'x');
    const head = `PUT ${path('1')} HTTP/1.1\r\nHost: x\r\nTidemark-Lease: ${lease}\r\nContent-Length: 1000000000\r\n\r\n`;
    // Resolves because the server cuts the connection.
    expect(await sidecar.raw(Buffer.concat([Buffer.from(head), endless]))).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('counts exactly', async () => {
    expect((await put('1', { body: 'x'.repeat(1024) })).status).toBe(201);
    expect((await put('1', { body: 'x'.repeat(1025) })).status).toBe(413);
  });
});

it('a caller that waits for 100 Continue gets it, and its value is stored', async () => {
  const lease = await leaseFor('1');
  const head = `PUT ${path('1')} HTTP/1.1\r\nHost: x\r\nTidemark-Lease: ${lease}\r\nExpect: 100-continue\r\nConnection: close\r\n`;
  expect(await sidecar.raw(`${head}Content-Length: 3\r\n\r\none`)).toMatch(
    /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 201 /,
  );
});

it('a body of unknown length that is not chunked is refused, because it may be a mistake: 411', async () => {
  const lease = await leaseFor('1');
  const answer = await sidecar.raw(
    `PUT ${path('1')} HTTP/1.1\r\nHost: x\r\nTidemark-Lease: ${lease}\r\nConnection: close\r\n\r\n`,
  );
  expect(answer).toMatch(/^HTTP\/1\.1 411 /);
});

it('chunked bodies are put together', async () => {
  const lease = await leaseFor('1');
  await sidecar.raw(
    `PUT ${path('1')} HTTP/1.1\r\nHost: x\r\nTidemark-Lease: ${lease}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\non\r\n1\r\ne\r\n0\r\n\r\n`,
  );
  expect((await sidecar.ask('GET', path('1'))).body.toString()).toBe('one');
});

it('a caller that breaks off in the middle stores nothing, and its lease is still good', async () => {
  const lease = await leaseFor('1');
  const closed = sidecar.raw(
    `PUT ${path('1')} HTTP/1.1\r\nHost: x\r\nTidemark-Lease: ${lease}\r\nContent-Length: 10\r\n\r\nhalf`,
  );
  await expect.poll(() => sidecar.slow()).toBe(2);
  sidecar.server.closeAllConnections();
  await closed;
  expect((await sidecar.ask('PUT', path('1'), { body: 'whole', headers: { 'tidemark-lease': lease } })).status).toBe(
    201,
  );
});

describe('max-age', () => {
  it('shortens the life of a value, and never lengthens it', async () => {
    await put('1', { headers: { 'cache-control': 'max-age=10' } });
    await put('2', { headers: { 'cache-control': 'public, max-age=4000' } });
    const ttlOf = async (key: string): Promise<string | undefined> => (await sidecar.ask('GET', path(key))).cacheStatus;
    expect(await ttlOf('1')).toBe('tidemark; hit; ttl=10; detail=l1');
    expect(await ttlOf('2')).toBe('tidemark; hit; ttl=60; detail=l1');
  });

  it('that is no number is an error', async () => {
    expect(await put('1', { headers: { 'cache-control': 'max-age=soon' } })).toMatchObject({
      status: 400,
      problem: 'bad-request',
    });
  });
});

describe('a value that is known not to exist', () => {
  it('is served as 404 without a lease, for its own TTL', async () => {
    const lease = await leaseFor('1');
    expect(
      (await sidecar.ask('PUT', path('1'), { body: '', headers: { 'tidemark-lease': lease, 'tidemark-absent': '?1' } }))
        .status,
    ).toBe(201);
    const answer = await sidecar.ask('GET', path('1'));
    expect(answer).toMatchObject({
      status: 404,
      cacheStatus: 'tidemark; hit; ttl=5; detail=negative',
      lease: undefined,
      body: Buffer.alloc(0),
    });
    expect(answer.headers['tidemark-lsn']).toBe('0/3F2');
    sidecar.stream.say({ users: ['1'] });
    expect((await sidecar.ask('GET', path('1'))).cacheStatus).toBe('tidemark; fwd=miss');
  });

  it('needs no length, and has no body', async () => {
    const lease = await leaseFor('1');
    const answer = await sidecar.raw(
      `PUT ${path('1')} HTTP/1.1\r\nHost: x\r\nTidemark-Lease: ${lease}\r\nTidemark-Absent: ?1\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 201 /);
    expect(await put('2', { body: 'but here', headers: { 'tidemark-absent': '?1' } })).toMatchObject({ status: 400 });
    expect(await put('2', { headers: { 'tidemark-absent': 'yes' } })).toMatchObject({ status: 400 });
    expect((await put('2', { headers: { 'tidemark-absent': '?0' } })).status).toBe(201);
  });
});

describe('tags', () => {
  it('evict what has them, and nothing else', async () => {
    await put('a', { namespace: 'list', headers: { 'surrogate-key': 'user:1   user:2' } });
    await put('b', { namespace: 'list', headers: { 'surrogate-key': 'user:2' } });
    await put('c', { namespace: 'list', headers: { 'surrogate-key': ['user:3', 'user:1'] } });
    sidecar.stream.say({ users: ['1'] });
    const statuses = await Promise.all(
      ['a', 'b', 'c'].map(async (key) => (await sidecar.ask('GET', path(key, 'list'))).status),
    );
    expect(statuses).toEqual([404, 200, 404]);
  });

  it('are percent-encoded UTF-8, since rows hold spaces and letters of every script', async () => {
    await put('a', { namespace: 'list', headers: { 'surrogate-key': 'user:New%20York user:K%C3%B6ln' } });
    await put('b', { namespace: 'list', headers: { 'surrogate-key': Buffer.from('user:Köln').toString('latin1') } });
    sidecar.stream.say({ users: ['Köln'] });
    const statuses = await Promise.all(
      ['a', 'b'].map(async (key) => (await sidecar.ask('GET', path(key, 'list'))).status),
    );
    expect(statuses).toEqual([404, 404]);
  });

  it.each([
    ['broken encoding', 'user:%'],
    ['bytes that are no UTF-8', 'user:\u00ff'],
    ['a tag that is too long', 'x'.repeat(513)],
    ['too many of them', Array.from({ length: 65 }, (_, i) => `t${i}`).join(' ')],
  ])('that cannot be understood are refused, because they would never be evicted: %s', async (_name, field) => {
    expect(await put('a', { namespace: 'list', headers: { 'surrogate-key': field } })).toMatchObject({
      status: 400,
      problem: 'bad-request',
    });
  });
});

it.each(['Vary', 'Content-Encoding', 'Content-Range'])('refuses %s rather than to forget it', async (name) => {
  expect(await put('1', { headers: { [name]: 'x' } })).toMatchObject({ status: 400, problem: 'bad-request' });
});

it('refuses two leases, and fields that are no positions', async () => {
  const lease = await leaseFor('1');
  expect(
    (await sidecar.ask('PUT', path('1'), { body: 'x', headers: { 'tidemark-lease': [lease, 'other'] } })).status,
  ).toBe(400);
  expect((await put('1', { headers: { 'source-lsn': 'soon' } })).status).toBe(400);
});
