import { once } from 'node:events';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseConfig, type HttpLoaderConfig } from '@tidemark/proto';
import { createServer } from '@tidemark/runtime';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Loaded } from '../core/ports.ts';
import { HttpLoader } from './http-loader.ts';

/** The longest that a load may take. Where that is to be over the clock is driven, because a busy machine may stand still for any time. */
const TIMEOUT_MS = 10_000;
const driveTheClock = (): void => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
const timeIsOver = (): void => void vi.advanceTimersByTime(TIMEOUT_MS);

let server: Server;
let answer: RequestListener;
let asked: IncomingMessage[];
let base: string;
beforeEach(async () => {
  asked = [];
  answer = (_, response) => response.end('value');
  server = createServer((request, response) => {
    asked.push(request);
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  vi.useRealTimers();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function loader(http: object = {}, more: object = {}): HttpLoader {
  const parsed = parseConfig({
    sources: { main: { topic: 't' } },
    namespaces: {
      n: {
        source: 'main',
        invalidate: [{ table: 'public.t', keys: ['{id}'] }],
        vary: { headers: ['accept-language', 'x-tenant'] },
        load: { http: { url: `${base}/users/{key}`, ...http }, timeout: `${TIMEOUT_MS}ms`, ...more },
      },
    },
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  const config = parsed.config.namespaces['n']?.load?.[0] as HttpLoaderConfig;
  return new HttpLoader({ namespace: 'n', config, timeoutMs: config.timeout, maxBytes: 1000 });
}

const load = (key = '1', of = loader()): Promise<Loaded> =>
  of.load({ address: key, values: new Map([['key', key]]), atLeast: undefined });

const text = (loaded: Loaded): unknown => (loaded.kind === 'value' ? Buffer.from(loaded.body).toString() : loaded);

describe('what is asked', () => {
  it('is a GET that says that it is a load, with the fields of the configuration', async () => {
    await load('1', loader({ headers: { accept: 'application/json' } }));
    expect(asked.map(({ method, url }) => [method, url])).toEqual([['GET', '/users/1']]);
    expect(asked[0]?.headers).toMatchObject({ 'tidemark-load': '?1;of="n/1"', accept: 'application/json' });
  });

  it('is for the caller whose headers make a difference', async () => {
    const values = new Map([
      ['key', '1'],
      ['header.x-tenant', 'a b/é'],
      ['header.accept-language', ''],
    ]);
    await loader({ url: `${base}/{header.x-tenant}/{key}` }).load({ address: '1', values, atLeast: undefined });
    expect(asked[0]?.url).toBe('/a%20b%2F%C3%A9/1');
    expect(Buffer.from(String(asked[0]?.headers['x-tenant']), 'latin1').toString()).toBe('a b/é');
    expect(asked[0]?.headers).not.toHaveProperty('accept-language');
  });

  it.each([
    ['a/b', 'a%2Fb'],
    ['../admin', '..%2Fadmin'],
    ['a?b=c#d', 'a%3Fb%3Dc%23d'],
    ['%2e%2e', '%252e%252e'],
    ['é 😀', '%C3%A9%20%F0%9F%98%80'],
    ["a\r\nx: y'", "a%0D%0Ax%3A%20y'"],
    ['...', '...'],
  ])('is at its place, whatever the key is: %j', async (key, path) => {
    expect(text(await load(key))).toBe('value');
    expect(asked.map(({ url }) => url)).toEqual([`/users/${path}`]);
  });

  it.each(['.', '..'])('is nothing for a key that would be a step in the path: %s', async (key) => {
    expect(await load(key)).toMatchObject({ kind: 'failed', why: 'error' });
    expect(await load(key, loader({ url: `${base}/a/{key}/b?x=1` }))).toMatchObject({ why: 'error' });
    expect(asked).toEqual([]);
    expect(text(await load(key, loader({ url: `${base}/a-{key}?x={key}` })))).toBe('value');
    expect(asked[0]?.url).toBe(`/a-${key}?x=${key}`);
  });

  it('goes over few connections', async () => {
    const sockets = new Set();
    answer = ({ socket }, response) => {
      sockets.add(socket);
      setImmediate(() => response.end('value'));
    };
    const one = loader({ connections: 2 });
    const loaded = await Promise.all(Array.from({ length: 20 }, (_, i) => load(String(i), one)));
    expect(loaded.every(({ kind }) => kind === 'value')).toBe(true);
    expect(sockets.size).toBe(2);
    const many = await Promise.all(Array.from({ length: 50 }, (_, i) => load(String(i), one)));
    expect(many.filter((each) => each.kind === 'failed' && each.why === 'busy')).toHaveLength(50 - 2 * 17);
  });
});

it('a load for which no connection became free is not the endpoint that failed', async () => {
  driveTheClock();
  answer = timeIsOver;
  const one = loader({ connections: 1, retries: 0 });
  // The one behind the first may get its connection in the last moment.
  const [first, , , last] = await Promise.all(['1', '2', '3', '4'].map((key) => load(key, one)));
  expect(first).toMatchObject({ why: 'timeout', detail: 'no answer within 10000 ms' });
  expect(last).toMatchObject({ why: 'busy', detail: 'no connection became free within 10000 ms' });
  vi.useRealTimers();
  answer = (_, response) => response.end('value');
  expect(text(await load('3', one))).toBe('value');
});

describe('an answer', () => {
  const answering = (status: number, headers: Record<string, string> = {}, body = 'value'): void => {
    answer = (_, response) => response.writeHead(status, headers).end(body);
  };

  it('is the value, with what it says of itself', async () => {
    answering(200, {
      'content-type': 'text/html',
      'surrogate-key': 'user:1 a%20b',
      'cache-control': 'max-age=60, stale-if-error=5',
      age: '20',
      'source-lsn': '0/10',
      'tidemark-loaded-at': '0/20',
    });
    expect(await load('1', loader({}, { tags: ['key:{key}'] }))).toMatchObject({
      kind: 'value',
      contentType: 'text/html',
      tags: ['key:1', 'user:1', 'a b'],
      maxAgeMs: 40_000,
      staleIfErrorMs: 5000,
      sourceLsn: 16,
      loadedAt: 32,
    });
  });

  it.each([
    ...['no-store', 'no-cache', 'private, no-store', 'private, max-age=60', 'Private="x"'].map((control) => ({
      'cache-control': control,
    })),
    ...['*', 'accept-encoding, *'].map((vary) => ({ vary })),
  ])('that says %j is not kept', async (headers) => {
    answering(200, { ...headers });
    expect(await load()).toMatchObject({ kind: 'value', maxAgeMs: 0 });
  });

  it('that differs by headers that no load has is kept', async () => {
    answering(200, { vary: 'accept-encoding, cookie' });
    expect(await load()).not.toHaveProperty('maxAgeMs', 0);
  });

  it.each([404, 410])('%s says that there is nothing', async (status) => {
    answering(status, { 'source-lsn': '0/10' });
    expect(await load()).toEqual({ kind: 'absent', sourceLsn: 16, loadedAt: undefined });
  });

  it.each([
    [204, {}, 'found status 204'],
    [301, { location: '/elsewhere' }, 'found status 301'],
    [500, {}, 'found status 500'],
    [403, {}, 'found status 403'],
    [200, { 'surrogate-key': '%ff' }, 'Surrogate-Key'],
    [200, { 'source-lsn': 'x' }, 'Source-Lsn'],
    [200, { 'cache-control': 'max-age=x' }, 'Cache-Control'],
    [200, { 'content-encoding': 'gzip' }, 'Content-Encoding'],
  ])('%s %o is a failure, and is not asked for again', async (status, headers, detail) => {
    answering(status, headers, '');
    const loaded = await load();
    expect(loaded).toMatchObject({ kind: 'failed', why: 'error' });
    expect(loaded.kind === 'failed' && loaded.detail).toContain(detail);
    expect(asked).toHaveLength(1);
  });

  it('has the tags of all its fields, and no more than a value may have', async () => {
    answer = (_, response) => {
      response.setHeader('surrogate-key', ['user:1 user:2', 'team:7']);
      response.end('value');
    };
    expect(await load()).toMatchObject({ tags: ['user:1', 'user:2', 'team:7'] });
    answering(200, { 'surrogate-key': Array.from({ length: 64 }, (_, i) => `t${i}`).join(' ') });
    expect(await load()).toMatchObject({ kind: 'value' });
    expect(await load('1', loader({}, { tags: ['key:{key}'] }))).toMatchObject({
      ...{ kind: 'failed', why: 'error', detail: 'found 65 tags, expected at most 64 of a value' },
    });
  });

  it.each([
    ['headers', { 'surrogate-key': 'x'.repeat(20_000) }, 'HPE_HEADER_OVERFLOW'],
    ['lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nvalue!', 'HPE_'],
    ['lines', 'value\r\n\r\n', 'HPE_'],
  ])('whose %s cannot be read is a failure of this key, and is not asked for again', async (_, sent, code) => {
    answer = ({ socket }, response) => {
      if (typeof sent === 'string') socket.end(sent);
      else response.writeHead(200, sent).end('value');
    };
    const loaded = await load();
    expect(loaded).toMatchObject({ kind: 'failed', why: 'error' });
    expect(loaded.kind === 'failed' && loaded.detail).toContain(code);
    expect(asked).toHaveLength(1);
  });

  it.each([503, 404, 200])('%s that never ends keeps no connection from other loads', async (status) => {
    answer = (request, response) => {
      if (request.url === '/users/other') response.end('value');
      else response.writeHead(status, { 'content-length': '5', 'surrogate-key': '%ff' }).flushHeaders();
    };
    driveTheClock();
    const one = loader({ connections: 1, retries: 0 });
    expect((await load('1', one)).kind).toBe(status === 404 ? 'absent' : 'failed');
    timeIsOver();
    expect(text(await load('other', one))).toBe('value');
  });

  it('that is too large is not read to its end', async () => {
    answering(200, {}, 'x'.repeat(1001));
    expect(await load()).toMatchObject({ why: 'too-large' });
    let sent = 0;
    answer = (_, response) => {
      const push = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384))) sent += 16_384;
      };
      response.on('drain', push);
      push();
    };
    expect(await load()).toMatchObject({ why: 'too-large' });
    expect(sent).toBeLessThan(16 * 1024 * 1024);
    answering(200, {}, 'x'.repeat(1000));
    expect(await load()).toMatchObject({ kind: 'value' });
  });
});

describe('a passing failure', () => {
  it.each([429, 502, 503, 504])('%s is asked for again', async (status) => {
    answer = (_, response) => response.writeHead(asked.length < 3 ? status : 200).end('value');
    expect(text(await load())).toBe('value');
    expect(asked).toHaveLength(3);
  });

  it('is given up after so many attempts', async () => {
    answer = (_, response) => response.writeHead(503).end();
    expect(await load()).toMatchObject({ kind: 'failed', why: 'unavailable', detail: expect.stringContaining('503') });
    expect(asked).toHaveLength(3);
    await load('1', loader({ retries: 0 }));
    expect(asked).toHaveLength(4);
  });

  it('that wants more time than there is ends the load', async () => {
    answer = (_, response) => response.writeHead(429, { 'retry-after': '60' }).end();
    expect(await load()).toMatchObject({ why: 'unavailable' });
    expect(asked).toHaveLength(1);
  });

  it('of the connection is asked for again, before and amid the answer', async () => {
    answer = (request, response) => {
      if (asked.length === 1) request.socket.destroy();
      else if (asked.length === 2) {
        response.writeHead(200, { 'content-length': '10' }).write('half');
        response.once('drain', () => undefined);
        setImmediate(() => request.socket.destroy());
      } else response.end('value');
    };
    expect(text(await load())).toBe('value');
    expect(asked).toHaveLength(3);
  });

  it('where nobody listens', async () => {
    const one = loader();
    await new Promise((resolve) => server.close(resolve));
    expect(await load('1', one)).toMatchObject({
      why: 'unavailable',
      detail: expect.stringContaining('cannot be asked'),
    });
  });

  it.each(['headers', 'the body'])('that takes too long is a timeout, while it waits for %s', async (what) => {
    driveTheClock();
    answer = (_, response) => {
      if (what === 'headers') timeIsOver();
      else response.writeHead(200).write('half', () => setImmediate(timeIsOver));
    };
    expect(await load()).toMatchObject({ kind: 'failed', why: 'timeout' });
    expect(asked).toHaveLength(1);
  });
});
