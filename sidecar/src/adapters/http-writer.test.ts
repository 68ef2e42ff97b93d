import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { parseConfig, type WriteThroughConfig } from '@tidemark/proto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Namespace } from '../core/namespace.ts';
import type { Executed } from '../core/write-through.ts';
import { HttpWriter } from './http-writer.ts';

/** The longest that a write may take. Its clock is driven here, because a busy machine may stand still for any time. */
const TIMEOUT_MS = 30_000;
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());
const timeIsOver = (): void => void vi.advanceTimersByTime(TIMEOUT_MS);

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

let server: Server;
let answer: Answer;
let seen: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
      answer(request, response, body);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

function writer(
  keep: 'written' | 'answer' | 'nothing',
  more: object = {},
  { port = (server.address() as AddressInfo).port, protocol = 'http' } = {},
): HttpWriter {
  const http = { url: `${protocol}://127.0.0.1:${port}/users/{id}?by={key}`, headers: { 'x-from': 'cache' } };
  const writeThrough = { key: 'user:{id}', put: { http }, delete: { http }, timeout: `${TIMEOUT_MS}ms`, ...more };
  const namespace = { source: 'main', invalidate: [{ table: 'public.users', keys: ['user:{id}'] }], writeThrough };
  const parsed = parseConfig({ sources: { main: { topic: 't' } }, namespaces: { users: namespace } });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  const config = parsed.config.namespaces['users']?.writeThrough as WriteThroughConfig;
  return new HttpWriter({ config, keep, maxBytes: 100 });
}

function put(to: HttpWriter, key = 'user:1'): Promise<Executed> {
  seen = [];
  const { signal } = new AbortController();
  const base = { namespace: {} as Namespace, key, headers: {}, signal, mark: 'write:token', maxAgeMs: undefined };
  return to.put!({ ...base, body: Buffer.from('Ada'), contentType: 'text/x', tags: ['t'] });
}

/** Calls back once, behind those who hear that an answer has begun. */
function whenAnswered(then: () => void): void {
  const onAnswer = (): void => {
    unsubscribe('http.client.response.finish', onAnswer);
    setImmediate(then);
  };
  subscribe('http.client.response.finish', onAnswer);
}

const says =
  (status: number, headers: Record<string, string> = {}, body = ''): Answer =>
  (_request, response) =>
    void response.writeHead(status, headers).end(body);

describe('a write', () => {
  it('is handed on with its mark, once', async () => {
    answer = says(201, { 'tidemark-lsn': '0/1234' });
    expect(await put(writer('written'), 'user:a/b')).toEqual({
      kind: 'committed',
      created: true,
      lsn: 0x1234,
      timeline: undefined,
      value: { kind: 'value', body: Buffer.from('Ada'), contentType: 'text/x', tags: ['t'] },
    });
    expect(seen).toMatchObject([
      {
        method: 'PUT',
        url: '/users/a%2Fb?by=user%3Aa%2Fb',
        body: 'Ada',
        headers: { 'tidemark-write': 'write:token', 'content-type': 'text/x', 'x-from': 'cache' },
      },
    ]);
  });

  it('is what the answer says, where that is kept', async () => {
    answer = says(200, { 'content-type': 'text/y' }, 'Ada Lovelace');
    expect(await put(writer('answer'))).toMatchObject({
      lsn: 'ask',
      value: { body: Buffer.from('Ada Lovelace'), contentType: 'text/y' },
    });
    answer = says(200, {}, 'x'.repeat(101));
    expect(await put(writer('answer'))).toMatchObject({ kind: 'committed', value: undefined });
  });

  it.each([
    ['is encoded', { 'content-encoding': 'gzip' }],
    ['may not be stored', { 'cache-control': 'no-store' }],
    ['says nothing that can be understood', { 'cache-control': 'max-age=never' }],
    ['may not be used again unasked', { 'cache-control': 'no-cache' }],
  ])('is not what an answer says that %s', async (_, headers) => {
    answer = says(200, headers, 'Ada Lovelace');
    expect(await put(writer('answer'))).toMatchObject({ kind: 'committed', value: undefined });
    expect(await put(writer('written'))).toMatchObject({ value: { body: Buffer.from('Ada') } });
  });

  it('that is taken and not done yet says nothing of what is there', async () => {
    answer = says(202);
    expect(await put(writer('written'))).toMatchObject({ kind: 'committed', value: undefined });
  });

  it('removes', async () => {
    answer = says(204);
    const request = { namespace: {} as Namespace, key: 'user:1', headers: {}, signal: new AbortController().signal };
    const removed = await writer('written').delete!({ ...request, mark: 'write:token' });
    expect(removed).toMatchObject({ kind: 'committed', value: { kind: 'absent' } });
  });

  it.each<[number, object]>([
    [404, { kind: 'nothing' }],
    [409, { why: 'conflict' }],
    [412, { why: 'conflict' }],
    [400, { why: 'invalid' }],
    [429, { why: 'unavailable' }],
    [503, { why: 'unavailable' }],
    [500, { why: 'unknown' }],
    [302, { why: 'unknown' }],
  ])('that is answered %i', async (status, expected) => {
    answer = says(status);
    expect(await put(writer('written'))).toMatchObject(expected);
    expect(seen).toHaveLength(1);
  });

  it('whose answer does not come, or breaks off, may have been done, and is not repeated', async () => {
    answer = timeIsOver;
    expect(await put(writer('written'))).toMatchObject({ why: 'unknown' });
    answer = (request) => void request.socket.destroy();
    expect(await put(writer('written'))).toMatchObject({ why: 'unknown' });
    expect(seen).toHaveLength(1);
  });

  it('that was not sent because TLS failed was not done', async () => {
    expect(await put(writer('written', {}, { protocol: 'https' }))).toMatchObject({ why: 'unavailable' });
    expect(seen).toEqual([]);
  });

  it('that nobody takes in time was not done', async () => {
    const deaf = createTcpServer().listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    const accepted: Socket[] = [];
    deaf.on('connection', (socket) => {
      accepted.push(socket.on('error', () => undefined));
      // The first that it says of TLS.
      socket.once('data', timeIsOver);
    });
    const { port } = deaf.address() as AddressInfo;
    expect(await put(writer('written', {}, { port, protocol: 'https' }))).toMatchObject({ why: 'unavailable' });
    for (const socket of accepted) socket.destroy();
    deaf.close();
  });

  it.each<[string, Answer]>([
    [
      'comes no further',
      (_, response) => {
        whenAnswered(timeIsOver);
        response.writeHead(200, { 'tidemark-lsn': '0/1234' }).write('half');
      },
    ],
    [
      'breaks off',
      (request, response) =>
        void response.writeHead(200, { 'tidemark-lsn': '0/1234' }).write('half', () => request.socket.destroy()),
    ],
  ])('whose answer %s behind its status was done all the same', async (_, broken) => {
    answer = broken;
    const done = { kind: 'committed', lsn: 0x1234 };
    expect(await put(writer('written'))).toMatchObject({ ...done, value: { body: Buffer.from('Ada') } });
    expect(await put(writer('answer'))).toMatchObject({ ...done, value: undefined });
  });

  it('that reaches nobody was not done', async () => {
    expect(await put(writer('written', {}, { port: 1 }))).toMatchObject({ why: 'unavailable' });
  });

  it.each(['other', 'user:..', 'user:.'])('of key %s goes nowhere', async (key) => {
    expect(await put(writer('written'), key)).toMatchObject({ why: 'invalid' });
    expect(seen).toEqual([]);
  });
});
