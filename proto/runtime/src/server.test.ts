import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { problem } from './problem.ts';
import { closeServer, createHealthServer, listen } from './server.ts';

const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => closeServer(server, 0)));
});

async function serve(server: Server): Promise<string> {
  servers.push(server);
  const address = await listen(server, { host: '127.0.0.1', port: 0 });
  if (!('port' in address)) throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}

describe('health server', () => {
  let reason: string | undefined;
  const health = () =>
    createHealthServer({
      unready: () => reason,
      metrics: () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
    });

  it('is alive whatever happens, and ready only without a reason', async () => {
    const url = await serve(health());
    reason = 'starting';
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    const unready = await fetch(`${url}/readyz`);
    expect([unready.status, await unready.text()]).toEqual([503, 'starting\n']);
    reason = undefined;
    expect((await fetch(`${url}/readyz?verbose`)).status).toBe(200);
  });

  it('serves metrics, answers HEAD without a body, and problems for the rest', async () => {
    const url = await serve(health());
    const metrics = await fetch(`${url}/metrics`);
    expect([metrics.headers.get('content-type'), await metrics.text()]).toEqual([
      'text/plain; version=0.0.4',
      'up 1\n',
    ]);
    const head = await fetch(`${url}/metrics`, { method: 'HEAD' });
    expect([head.headers.get('content-length'), await head.text()]).toEqual(['5', '']);
    const missing = await fetch(`${url}/other`);
    expect(missing.headers.get('content-type')).toBe('application/problem+json');
    expect(await missing.json()).toMatchObject({ type: 'urn:tidemark:problem:not-found', status: 404 });
    const posted = await fetch(`${url}/livez`, { method: 'POST' });
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });
});

describe('problem', () => {
  it('carries detail and further members, and nothing that was not given', async () => {
    const url = await serve(
      createServer((_request, response) =>
        problem(response, { code: 'too-large', detail: '5 bytes', extra: { maxItemBytes: 4 } }),
      ),
    );
    const answer = await fetch(url);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(await answer.json()).toEqual({
      type: 'urn:tidemark:problem:too-large',
      title: 'The body is larger than the namespace allows',
      status: 413,
      detail: '5 bytes',
      maxItemBytes: 4,
    });
  });

  it('leaves an answer alone that has begun', async () => {
    const url = await serve(
      createServer((_request, response) => {
        response.writeHead(200);
        problem(response, { code: 'internal' });
        response.end('done');
      }),
    );
    const answer = await fetch(url);
    expect([answer.status, await answer.text()]).toEqual([200, 'done']);
  });
});

describe('listen', () => {
  it('takes the place of the socket file of a process that was killed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-listen-'));
    const path = join(folder, 's.sock');
    try {
      for (const body of ['first', 'second']) {
        const server = createServer((_request, response) => response.end(body));
        servers.push(server);
        expect(await listen(server, { path })).toEqual({ path });
        expect(await bodyOf(path)).toBe(body);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('rejects with the reason when the address is taken', async () => {
    const url = new URL(await serve(createServer()));
    const taken = listen(createServer(), { host: '127.0.0.1', port: Number(url.port) });
    await expect(taken).rejects.toMatchObject({
      code: 'EADDRINUSE',
      message: expect.stringContaining(`127.0.0.1:${url.port}: another process`),
    });
  });

  it('says what can be wrong with a socket whose folder is not there', async () => {
    await expect(listen(createServer(), { path: '/nowhere/s.sock' })).rejects.toThrow(
      '/nowhere/s.sock: this user may not have it, or the folder of the socket is not there (EACCES)',
    );
  });
});

describe('closeServer', () => {
  it('waits for a request in flight, and cuts what takes longer than the grace', async () => {
    const quick = Promise.withResolvers<() => void>();
    const url = await serve(
      createServer((incoming, response) => {
        if (incoming.url === '/quick') quick.resolve(() => response.end('done'));
      }),
    );
    const answer = fetch(`${url}/quick`);
    const endless = fetch(`${url}/endless`).then(
      () => 'answered',
      () => 'cut',
    );
    const end = await quick.promise;
    const closed = closeServer(servers.splice(0)[0] as Server, 200);
    end();
    expect(await (await answer).text()).toBe('done');
    await closed;
    expect(await endless).toBe('cut');
  });

  // So long that a test which waited for it would fail by its own time limit.
  const GRACE_MS = 600_000;

  it('does not wait for a client that keeps its connection after its answer', async () => {
    const asked = Promise.withResolvers<() => void>();
    const url = await serve(createServer((_request, response) => asked.resolve(() => response.end('done'))));
    const client = connectTo(url);
    client.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const end = await asked.promise;
    const closed = closeServer(servers.splice(0)[0] as Server, GRACE_MS);
    end();
    await closed;
    expect(await client.received).toContain('done');
  });

  it('does not wait for a connection on which nothing was ever asked', async () => {
    const server = createServer();
    const url = await serve(server);
    const accepted = new Promise((resolve) => server.once('connection', resolve));
    const client = connectTo(url);
    await accepted;
    await closeServer(servers.splice(0)[0] as Server, GRACE_MS);
    expect(await client.received).toBe('');
  });

  it('tells a client that asks on and on over one connection that it ends', async () => {
    const asked: (() => void)[] = [];
    const server = createServer((_request, response) => asked.push(() => response.end('done')));
    const client = connectTo(await serve(server));
    const ask = async (): Promise<void> => {
      const heard = new Promise((resolve) => server.once('request', resolve));
      client.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await heard;
    };
    await ask();
    const closed = closeServer(servers.splice(0)[0] as Server, GRACE_MS);
    await ask();
    for (const end of asked) end();
    await closed;
    const answers = (await client.received).split('HTTP/1.1 200').slice(1);
    expect(answers.map((answer) => /connection: (.*)\r/i.exec(answer)?.[1])).toEqual(['keep-alive', 'close']);
  });
});

/** A connection that sends what it is told; `received` is all that came back until it was closed. */
function connectTo(url: string): { readonly socket: Socket; readonly received: Promise<string> } {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  socket.on('error', () => undefined);
  return { socket, received: new Promise((resolve) => socket.once('close', () => resolve(text))) };
}

function bodyOf(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path: '/', agent: false }, (incoming: IncomingMessage) => {
      let body = '';
      incoming.on('data', (chunk: Buffer) => (body += chunk.toString()));
      incoming.on('end', () => resolve(body));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}
