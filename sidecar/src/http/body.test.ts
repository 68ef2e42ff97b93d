import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { testServer, type TestServer } from '../testing/server.ts';
import { MAX_HELD_BYTES, readBody } from './body.ts';

let sidecar: TestServer | undefined;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await sidecar?.close();
});

const MIB = 1024 * 1024;

/** Reads what a test sends, as of a request with these headers. */
function reading(headers: Record<string, string> = {}, maxBytes = MAX_HELD_BYTES) {
  const request = Object.assign(new EventEmitter(), { headers, httpVersion: '1.1' });
  const read = readBody(request as unknown as IncomingMessage, {} as ServerResponse, maxBytes);
  return { request, read };
}

it.each([
  ['of a declared length', { 'content-length': '11' }],
  ['in chunks', {}],
])('a body %s has memory of its own, however it comes', async (_, headers) => {
  for (const pieces of [['hello world'], ['hello', ' ', 'world'], 'hello world'.split('')]) {
    const { request, read } = reading(headers);
    for (const piece of pieces) request.emit('data', Buffer.from(piece));
    request.emit('end');
    const { body } = (await read) as { body: Uint8Array };
    expect([Buffer.from(body).toString(), body.buffer.byteLength]).toEqual(['hello world', 11]);
  }
});

it('bodies that are on their way have a limit together, and give back what they had, whatever their end', async () => {
  const part = Buffer.alloc(MIB);
  const all = Array.from({ length: 64 }, () => reading({ 'content-length': String(MIB + 1) }, 2 * MIB));
  for (const { request } of all) request.emit('data', part);
  const refused = reading({ 'content-length': String(MIB) }, 2 * MIB);
  refused.request.emit('data', part);
  await expect(refused.read).rejects.toThrow('the bodies of other requests');
  all.forEach(({ request }, i) => request.emit(i % 2 === 0 ? 'close' : 'data', Buffer.alloc(2 * MIB)));
  expect((await Promise.all(all.map(({ read }) => read))).map((result) => result.ok)).toEqual(all.map(() => false));
  // One alone may be larger than all may be together.
  const large = reading({}, 2 * MAX_HELD_BYTES);
  for (let i = 0; i < 70; i++) large.request.emit('data', part);
  large.request.emit('end');
  expect(await large.read).toMatchObject({ ok: true });
});

it('whoever sends one more is told to come back, and the others are stored', async () => {
  sidecar = await testServer({ l1Bytes: '256MiB', maxItemBytes: '8MiB' });
  const { port } = sidecar;
  const head = `HTTP/1.1\r\nHost: x\r\nContent-Length: ${8 * MIB}\r\n\r\n`;
  for (let i = 0; i < 8; i++) {
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    socket.write(`PUT /v1/cache/plain/k${i} ${head}`);
    await new Promise((sent) => socket.write(Buffer.alloc(8 * MIB - 1), sent));
  }
  const put = async (): Promise<number> =>
    (await sidecar!.ask('PUT', '/v1/cache/plain/more', { body: 'x'.repeat(100_000) })).status;
  await expect.poll(put).toBe(503);
  const answer = await sidecar.ask('PUT', '/v1/cache/plain/more', { body: 'x'.repeat(100_000) });
  expect([answer.problem, answer.headers['retry-after']]).toEqual(['unavailable', '1']);
  for (const socket of sockets) socket.write('x');
  await expect.poll(() => sidecar!.of('plain').l1.entries).toBeGreaterThanOrEqual(8);
  expect([201, 204]).toContain(await put());
});
