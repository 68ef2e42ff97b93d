import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpPurgeClient } from './purge-client.ts';

const request = { purge: [{ namespace: 'user', keys: ['1'], tags: [], all: false }] };
let server: Server | undefined;

afterEach(() => {
  server?.close();
  server?.closeAllConnections();
});

async function clientOf(listener: RequestListener, path = ''): Promise<HttpPurgeClient> {
  server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return new HttpPurgeClient({ invalidatorUrl: `http://127.0.0.1:${port}${path}`, timeoutMs: 300 });
}

describe('a purge', () => {
  it.each(['', '/', '/behind/a/proxy', '/behind/a/proxy/'])(
    'is posted as JSON, and answers its position: %s',
    async (path) => {
      let got: unknown;
      const client = await clientOf((incoming, response) => {
        let body = '';
        incoming.on('data', (chunk: Buffer) => (body += chunk.toString()));
        incoming.on('end', () => {
          got = [incoming.method, incoming.url, incoming.headers['content-type'], JSON.parse(body)];
          response.end('{"lsn":"16/B374D848"}');
        });
      }, path);
      expect(await client.purge(request)).toEqual({ lsn: 0x16b374d848 });
      expect(got).toEqual(['POST', `${path.replace(/\/$/, '')}/v1/purge`, 'application/json', request]);
    },
  );

  it.each<[string, RequestListener, string]>([
    ['an error', (_incoming, response) => void response.writeHead(503).end(), 'answered 503'],
    ['no JSON', (_incoming, response) => void response.end('<html>'), 'cannot be asked'],
    ['no position', (_incoming, response) => void response.end('{}'), 'not an LSN'],
    ['an endless answer', (_incoming, response) => void response.end('x'.repeat(100_000)), 'too large'],
    ['nothing', () => undefined, 'cannot be asked'],
    [
      'half an answer',
      (_incoming, response) => void response.writeHead(200, { 'content-length': '100' }).write('{'),
      'cannot be asked',
    ],
    ['a cut connection', (incoming) => void incoming.destroy(), 'cannot be asked'],
  ])('says why there is none: %s', async (_name, listener, why) => {
    const client = await clientOf(listener);
    expect(await client.purge(request)).toEqual({ failed: expect.stringContaining(why) as string });
  });

  it('says so when nobody listens', async () => {
    const client = new HttpPurgeClient({ invalidatorUrl: 'http://127.0.0.1:1', timeoutMs: 300 });
    expect(await client.purge(request)).toEqual({ failed: expect.stringContaining('ECONNREFUSED') as string });
  });
});
