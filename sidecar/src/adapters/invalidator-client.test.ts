import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpInvalidatorClient } from './invalidator-client.ts';

const request = { purge: [{ namespace: 'user', keys: ['1'], tags: [], all: false }] };
let server: Server | undefined;

afterEach(() => {
  server?.close();
  server?.closeAllConnections();
});

/** So long that a busy machine does not matter beside it. */
const PATIENT_MS = 25_000;
const SHORT_MS = 300;

async function clientOf(
  listener: RequestListener,
  { path = '', timeoutMs = PATIENT_MS } = {},
): Promise<HttpInvalidatorClient> {
  server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return new HttpInvalidatorClient({
    invalidatorUrl: `http://127.0.0.1:${port}${path}`,
    source: 'main',
    timeoutMs,
  });
}

describe('a purge', () => {
  it.each(['', '/', '/behind/a/proxy', '/behind/a/proxy/'])(
    'is posted as JSON, and answers its position: %s',
    async (path) => {
      let got: unknown;
      const client = await clientOf(
        (incoming, response) => {
          let body = '';
          incoming.on('data', (chunk: Buffer) => (body += chunk.toString()));
          incoming.on('end', () => {
            got = [incoming.method, incoming.url, incoming.headers['content-type'], JSON.parse(body)];
            response.end('{"lsn":"16/B374D848"}');
          });
        },
        { path },
      );
      expect(await client.purge(request)).toEqual({ lsn: 0x16b374d848 });
      expect(got).toEqual(['POST', `${path.replace(/\/$/, '')}/v1/purge`, 'application/json', request]);
    },
  );

  it.each<[string, RequestListener, string, timeoutMs?: number]>([
    ['an error', (_incoming, response) => void response.writeHead(503).end(), 'answered 503'],
    ['no JSON', (_incoming, response) => void response.end('<html>'), 'cannot be asked'],
    ['no position', (_incoming, response) => void response.end('{}'), 'not an LSN'],
    ['an endless answer', (_incoming, response) => void response.end('x'.repeat(100_000)), 'too large'],
    ['nothing', () => undefined, 'cannot be asked', SHORT_MS],
    [
      'half an answer',
      (_incoming, response) => void response.writeHead(200, { 'content-length': '100' }).write('{'),
      'cannot be asked',
      SHORT_MS,
    ],
    ['a cut connection', (incoming) => void incoming.destroy(), 'cannot be asked'],
  ])('says why there is none: %s', async (_name, listener, why, timeoutMs = PATIENT_MS) => {
    const client = await clientOf(listener, { timeoutMs });
    expect(await client.purge(request)).toEqual({ failed: expect.stringContaining(why) as string });
  });

  it('says so when nobody listens', async () => {
    const client = new HttpInvalidatorClient({
      invalidatorUrl: 'http://127.0.0.1:1',
      source: 'main',
      timeoutMs: PATIENT_MS,
    });
    expect(await client.purge(request)).toEqual({ failed: expect.stringContaining('ECONNREFUSED') as string });
  });
});

describe('a position', () => {
  it('is asked for, and told with its epoch', async () => {
    let url: string | undefined;
    const client = await clientOf(
      (incoming, response) => {
        url = `${incoming.method} ${incoming.url}`;
        response.end('{"source":"main","epoch":7,"lsn":"16/B374D848"}');
      },
      { path: '/behind' },
    );
    expect(await client.position()).toEqual({ epoch: 7, lsn: 0x16b374d848 });
    expect(url).toBe('GET /behind/v1/position');
  });

  it.each([
    ['another source', '{"source":"other","epoch":7,"lsn":"0/1"}', 'for source other'],
    ['no epoch', '{"source":"main","epoch":"7","lsn":"0/1"}', 'no epoch'],
    ['no position', '{"source":"main","epoch":7}', 'not an LSN'],
  ])('is none where the answer has %s', async (_name, body, why) => {
    const client = await clientOf((_incoming, response) => void response.end(body));
    expect(await client.position()).toEqual({ failed: expect.stringContaining(why) as string });
  });

  it('asked for by many is one request, but never one that was under way already', async () => {
    const answers: (() => void)[] = [];
    const client = await clientOf(
      (_incoming, response) =>
        void answers.push(() => response.end(`{"source":"main","epoch":1,"lsn":"0/${answers.length}"}`)),
    );
    const first = client.position();
    await expect.poll(() => answers.length).toBe(1);
    const later = Array.from({ length: 50 }, () => client.position());
    answers[0]!();
    expect(await first).toEqual({ epoch: 1, lsn: 1 });
    await expect.poll(() => answers.length).toBe(2);
    answers[1]!();
    expect(new Set((await Promise.all(later)).map((each) => JSON.stringify(each)))).toEqual(
      new Set(['{"epoch":1,"lsn":2}']),
    );
  });
});
