import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { PutRequest, WriteFailure, WriteRequest, Writer, Written } from '../core/writer.ts';
import { testServer, type Answer, type Asked, type TestServer } from '../testing/server.ts';

let sidecar: TestServer;
let next: Written;
let asked: (WriteRequest | PutRequest)[] = [];

const take = (request: WriteRequest | PutRequest): Promise<Written> => {
  asked.push(request);
  return Promise.resolve(next);
};
const writer: Writer = { headers: ['x-user'], put: take, delete: take };

beforeAll(async () => {
  sidecar = await testServer({ writer, maxItemBytes: '1KiB' });
});
afterAll(() => sidecar.close());
beforeEach(() => {
  asked = [];
  next = { kind: 'written', lsn: 0x1234, created: undefined };
});

const put = (key: string, more: Asked = {}): Promise<Answer> =>
  sidecar.ask('PUT', `/v1/write/user/${key}`, { body: 'x', ...more });

describe('what is written', () => {
  it('is handed over as it was sent', async () => {
    const headers = {
      'content-type': 'text/css',
      'surrogate-key': 'a b%20c',
      'cache-control': 'max-age=7',
      'x-user': Buffer.from('Zoë').toString('latin1'),
      'x-other': 'not asked for',
    };
    await put('a%2Fb', { body: 'body {}', headers });
    expect(asked).toEqual([
      expect.objectContaining({
        key: 'a/b',
        body: expect.objectContaining({ length: 7 }),
        contentType: 'text/css',
        tags: ['a', 'b c'],
        maxAgeMs: 7000,
        headers: { 'x-user': 'Zoë' },
      }),
    ]);
  });

  it.each<[string, Written, number]>([
    ['new', { kind: 'written', lsn: 0x1234, created: true }, 201],
    ['there before', { kind: 'written', lsn: 0x1234, created: false }, 204],
    ['of which nobody says', { kind: 'written', lsn: 0x1234, created: undefined }, 204],
  ])('%s', async (_, written, status) => {
    next = written;
    const answer = await put('k');
    expect([answer.status, answer.headers['tidemark-lsn'], answer.body.length]).toEqual([status, '0/1234', 0]);
  });

  it('is accepted where it waits', async () => {
    next = { kind: 'accepted' };
    expect((await put('k')).status).toBe(202);
  });

  it('is removed', async () => {
    expect((await sidecar.ask('DELETE', '/v1/write/user/k')).status).toBe(204);
    expect(asked).toMatchObject([{ key: 'k' }]);
  });

  it('is known to the session', async () => {
    const { session } = await put('k', { headers: { 'tidemark-session': 'new' } });
    expect(session).toBe('1~main~1~1234');
    next = { kind: 'written', lsn: undefined, created: undefined };
    const open = await put('k', { headers: { 'tidemark-session': 'new' } });
    expect([open.session, open.headers['tidemark-lsn']]).toEqual(['1~main~1~0~*', undefined]);
  });
});

describe('what is not written', () => {
  it.each<[WriteFailure, number, string, string | undefined]>([
    ['busy', 503, 'unavailable', '1'],
    ['unavailable', 503, 'unavailable', '1'],
    ['unknown', 503, 'write-unknown', undefined],
    ['timeout', 504, 'timeout', undefined],
    ['conflict', 409, 'write-conflict', undefined],
    ['invalid', 422, 'write-invalid', undefined],
    ['too-large', 413, 'too-large', undefined],
    ['misconfigured', 502, 'upstream-failed', undefined],
  ])('%s', async (why, status, problem, retryAfter) => {
    next = { kind: 'failed', why, detail: 'because', sqlState: '12345' };
    const answer = await put('k');
    expect(answer).toMatchObject({ status, problem });
    expect([answer.headers['retry-after'], JSON.parse(answer.body.toString())]).toEqual([
      retryAfter,
      expect.objectContaining({ detail: 'because', sqlState: '12345' }),
    ]);
  });

  it('what may have been written leaves the session open', async () => {
    next = { kind: 'failed', why: 'unknown', detail: '' };
    expect((await put('k', { headers: { 'tidemark-session': 'new' } })).session).toBe('1~main~1~0~*');
  });

  it('what touches no row', async () => {
    next = { kind: 'nothing' };
    expect(await put('k')).toMatchObject({ status: 404, problem: 'nothing-written' });
  });

  it.each<[string, string, string, Asked, number, string]>([
    ['a namespace without writes', 'PUT', '/v1/write/list/k', { body: '' }, 404, 'not-writable'],
    ['an unknown one', 'PUT', '/v1/write/none/k', { body: '' }, 404, 'unknown-namespace'],
    ['no key', 'PUT', '/v1/write/user/', { body: '' }, 400, 'bad-key'],
    ['another method', 'POST', '/v1/write/user/k', { body: '' }, 405, 'method-not-allowed'],
    ['too much', 'PUT', '/v1/write/user/k', { body: 'x'.repeat(1025) }, 413, 'too-large'],
    ['a condition', 'PUT', '/v1/write/user/k', { body: '', headers: { 'if-match': '"x"' } }, 400, 'bad-request'],
    ['a field twice', 'PUT', '/v1/write/user/k', { body: '', headers: { 'x-user': ['a', 'b'] } }, 400, 'bad-request'],
    [
      'a field that is no text',
      'PUT',
      '/v1/write/user/k',
      { body: '', headers: { 'x-user': '\xff' } },
      400,
      'bad-request',
    ],
  ])('%s', async (...[, method, path, request, status, problem]) => {
    expect(await sidecar.ask(method, path, request)).toMatchObject({ status, problem });
    expect(asked).toEqual([]);
  });

  it('no length', async () => {
    const answer = await sidecar.raw('PUT /v1/write/user/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 411 [^]*length-required/);
  });
});
