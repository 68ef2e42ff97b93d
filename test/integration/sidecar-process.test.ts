import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { scratchFolder, type Scratch } from '../kit/index.ts';
import { NOBODY, startBareSidecar, type BareSidecar } from './support/bare-sidecar.ts';
import { eventually } from './support/eventually.ts';

// The process itself, with neither Kafka nor Redis: it must start, serve, say what is wrong, and end.

/** After so long it cuts what is still under way. */
const DRAIN_MS = 8_000;

let scratch: Scratch;
let config: string;
const running: BareSidecar[] = [];

beforeAll(() => {
  scratch = scratchFolder('sidecar-process');
  config = join(scratch.path, 'tidemark.yaml');
  writeFileSync(
    config,
    `sources: { main: { topic: nowhere } }
namespaces:
  user: { source: main, invalidate: [{ table: public.users, keys: ["{id}"] }] }
  plain: { source: main, invalidation: ttl_only }
`,
  );
});
afterEach(async () => {
  for (const { child, exited } of running.splice(0)) {
    child.kill('SIGKILL');
    await exited;
  }
});
afterAll(() => scratch.remove());

async function start(env: Readonly<Record<string, string>> = {}): Promise<BareSidecar> {
  const sidecar = await startBareSidecar({ ...NOBODY, TIDEMARK_CONFIG: config, ...env });
  running.push(sidecar);
  return sidecar;
}

function overSocket(socketPath: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path, agent: false }, (answer) => {
      let body = '';
      answer.on('data', (chunk: Buffer) => (body += chunk.toString()));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

describe('without Kafka and Redis', () => {
  it('serves what needs neither, and says why it does not serve the rest', async () => {
    const { bound } = await start();
    const at = (path: string) => `http://${bound.url}${path}`;
    const bypass = await fetch(at('/v1/cache/user/1'));
    expect([bypass.status, bypass.headers.get('cache-status')]).toEqual([404, 'tidemark; fwd=bypass; detail=starting']);
    expect((await fetch(at('/v1/cache/plain/1'), { method: 'PUT', body: 'one' })).status).toBe(201);
    expect(await (await fetch(at('/v1/cache/plain/1'))).text()).toBe('one');
    for (const path of ['/livez', '/readyz']) {
      expect((await fetch(at(path))).status).toBe(200);
      expect((await fetch(`http://${bound.admin}${path}`)).status).toBe(200);
    }
    expect(await (await fetch(`http://${bound.admin}/v1/status`)).json()).toMatchObject({
      rules: { user: { hash: expect.stringMatching(/^[0-9a-f]{16}$/) as string } },
      config: { from: 'file', state: 'taken', term: null, revision: null, complaint: null },
      // Its lag is how long it has heard nothing.
      sources: { main: { epoch: 0, applied: '0/0', visible: '0/0', horizon: '0/0', state: 'starting' } },
      l1: { entries: 1, maxBytes: 2 * 64 * 1024 * 1024 },
      l2: { state: 'down', lagMs: null },
      namespaces: { plain: { hits: { l1: 1, l2: 0 }, misses: 0, fills: 1, refused: 0 }, user: { misses: 1 } },
    });
    const metrics = await (await fetch(`http://${bound.admin}/metrics`)).text();
    expect(metrics).toContain('tidemark_requests_total{namespace="plain",result="hit_l1"} 1');
    expect(metrics).toContain('tidemark_feed_state{state="starting"} 1');
    expect(metrics).toContain('tidemark_l2_up 0');
  });

  it('keeps the cache off the admin address', async () => {
    const { bound } = await start();
    expect((await fetch(`http://${bound.admin}/v1/cache/plain/1`)).status).toBe(404);
    expect((await fetch(`http://${bound.admin}/v1/purge`, { method: 'POST' })).status).toBe(404);
  });

  it('tells a purge that it cannot be done', async () => {
    const refused = await start();
    expect((await fetch(`http://${refused.bound.url}/v1/cache/user/1`, { method: 'DELETE' })).status).toBe(503);
    const away = await start({ TIDEMARK_INVALIDATOR_URL: 'http://127.0.0.1:1' });
    const answer = await fetch(`http://${away.bound.url}/v1/cache/user/1`, { method: 'DELETE' });
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
  });
});

describe('the Unix socket', () => {
  it('serves the same, for owner and group only, also in the place of one that was left behind', async () => {
    const socket = join(scratch.path, 'left.sock');
    const first = await start({ TIDEMARK_SOCKET: socket });
    expect(statSync(socket).mode & 0o777).toBe(0o660);
    expect((await overSocket(socket, '/livez')).status).toBe(200);
    first.child.kill('SIGKILL');
    await first.exited;
    expect(statSync(socket).isSocket()).toBe(true);
    const second = await start({ TIDEMARK_SOCKET: socket, TIDEMARK_SOCKET_MODE: '0600' });
    expect(second.bound.socket).toBe(socket);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(await overSocket(socket, '/v1/cache/nobody/1')).toMatchObject({
      status: 404,
      body: expect.stringContaining('unknown-namespace') as string,
    });
    second.child.kill('SIGTERM');
    expect(await second.exited).toBe(0);
    expect(statSync(socket, { throwIfNoEntry: false })).toBeUndefined();
  });

  it('is not taken from a process that listens there, nor from a file', async () => {
    const socket = join(scratch.path, 'used.sock');
    const other = createServer().listen(socket);
    await once(other, 'listening');
    await expect(start({ TIDEMARK_SOCKET: socket })).rejects.toThrow(`another process listens on ${socket}`);
    other.close();
    await expect(start({ TIDEMARK_SOCKET: config })).rejects.toThrow('is no socket');
    expect(statSync(config).isFile()).toBe(true);
  });
});

describe('on SIGTERM', () => {
  it('ends the requests in flight, takes no new ones, and exits with 0', async () => {
    const { bound, child, exited } = await start();
    const [host, port] = bound.url.split(':') as [string, string];
    const socket = connect(Number(port), host);
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.write('PUT /v1/cache/plain/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhal');
    const idle = connect(Number(port), host);
    await once(idle, 'connect');
    const idleClosed = once(idle.resume(), 'close');
    await eventually(async () => expect((await fetch(`http://${bound.admin}/v1/status`)).status).toBe(200));
    child.kill('SIGTERM');
    const askedAt = performance.now();
    await eventually(async () => expect((await fetch(`http://${bound.admin}/readyz`)).status).toBe(503));
    await eventually(() => expect(fetch(`http://${bound.url}/livez`)).rejects.toThrow('fetch failed'));
    // The one on which nothing ever came is closed while the other's request is still on its way.
    await idleClosed;
    socket.write('ed');
    await once(socket, 'close');
    expect(answer).toMatch(/^HTTP\/1\.1 201 /);
    expect(await exited).toBe(0);
    // Nobody waited for the one whose request had ended until all would have been cut.
    expect(performance.now() - askedAt).toBeLessThan(DRAIN_MS);
  });
});

describe('says what is wrong', () => {
  const fails = (env: Readonly<Record<string, string>>) => startBareSidecar({ ...NOBODY, ...env });

  it.each([
    ['a missing file', { TIDEMARK_CONFIG: '/nowhere.yaml' }, '/nowhere.yaml'],
    ['no file named', {}, 'TIDEMARK_CONFIG and TIDEMARK_CONFIG_TOPIC: found neither of them, expected one of them'],
    ['file and topic', { TIDEMARK_CONFIG_TOPIC: 't' }, 'found both, expected one of them'],
    ['a bad topic', { TIDEMARK_CONFIG_TOPIC: 'a/b' }, 'TIDEMARK_CONFIG_TOPIC: found "a/b", expected 1 to 249'],
    ['an empty name', { TIDEMARK_NAMESPACES: 'a,,b' }, 'expected names of namespaces, several divided by commas'],
    ['a mistyped name', { TIDEMARK_LISTENS: '127.0.0.1:0' }, 'did you mean TIDEMARK_LISTEN'],
    ['a bad duration', { TIDEMARK_LEASE_TTL: 'soon' }, 'TIDEMARK_LEASE_TTL'],
    ['an unknown source', { TIDEMARK_SOURCE: 'other' }, 'expected one of the sources in '],
    ['half of SASL', { TIDEMARK_KAFKA_SASL_USERNAME: 'me' }, 'expected all three or none'],
    ['a bad mode', { TIDEMARK_SOCKET_MODE: '99' }, 'expected an octal mode'],
    ['a bad URL', { TIDEMARK_INVALIDATOR_URL: 'ftp://x' }, 'expected an http://'],
  ])('and exits with 2: %s', async (name, env, message) => {
    const known = name === 'a missing file' || name === 'no file named' ? {} : { TIDEMARK_CONFIG: config };
    await expect(fails({ ...known, ...env })).rejects.toThrow(
      new RegExp(`^exit code 2: [^]*${message.replaceAll('.', '\\.')}`),
    );
  });

  it('about an argument that it does not know', async () => {
    await expect(startBareSidecar({}, ['--confg'])).rejects.toThrow(/^exit code 2: .*--confg/);
  });

  it('about an address in use, and exits with 1', async () => {
    const { bound } = await start();
    await expect(fails({ TIDEMARK_CONFIG: config, TIDEMARK_LISTEN: bound.url })).rejects.toThrow(
      /^exit code 1: [^]*EADDRINUSE/,
    );
  });

  it('in its help', async () => {
    await expect(startBareSidecar({}, ['--help'])).rejects.toThrow(
      /^exit code 0: [^]*TIDEMARK_COALESCE_TIMEOUT .* \[2s\]/,
    );
  });
});
