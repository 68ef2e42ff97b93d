import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Link, type Links, startLinks, toStderr } from './index.ts';
import { startOwnLinks } from './own-links.ts';

// The same for both kinds: a test must not find other faults where there is no Go.

/** Echoes what it gets, after its own name. */
async function echo(name: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('data', (data: Buffer) => socket.write(`${name}:${data.toString()}`));
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

const answerWithin = (ms: number, socket: Socket, request: string): Promise<string> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve('nothing'), ms);
    const settle = (text: string): void => {
      clearTimeout(timer);
      resolve(text);
    };
    socket.once('data', (data: Buffer) => settle(data.toString()));
    socket.once('close', () => settle('closed'));
    socket.once('error', () => settle('closed'));
    socket.write(request);
  });

describe.each([
  ['startLinks', () => startLinks(toStderr)],
  ['startOwnLinks', startOwnLinks],
])('%s', (_, start) => {
  let links: Links;
  let servers: Server[];
  let link: Link;
  let count = 0;
  const sockets: Socket[] = [];
  beforeAll(async () => {
    links = await start();
    servers = [await echo('a'), await echo('b')];
  }, 600_000); // the first time it is built
  beforeEach(async () => {
    count += 1;
    link = await links.open(`link-${count}`, portOf(servers[0]!));
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });
  afterAll(async () => {
    await links.stop();
    for (const server of servers) server.close();
  });

  const open = async (): Promise<Socket> => {
    const socket = connect(link.port, '127.0.0.1');
    sockets.push(socket.on('error', () => undefined));
    await once(socket, 'connect');
    return socket;
  };

  it('passes bytes on', async () => {
    expect(await answerWithin(60_000, await open(), '1')).toBe('a:1');
  });

  it('refuses, ends what there is, and comes back on its port', async () => {
    const socket = await open();
    expect(await answerWithin(60_000, socket, '1')).toBe('a:1');
    const closed = once(socket, 'close');
    await link.trouble({ kind: 'refused' });
    await closed;
    await expect(open()).rejects.toThrow('ECONNREFUSED');
    await link.heal();
    expect(await answerWithin(60_000, await open(), '2')).toBe('a:2');
  });

  it.each(['both', 'client', 'server'] as const)('is silent toward %s, and ends what lost bytes', async (toward) => {
    const socket = await open();
    expect(await answerWithin(60_000, socket, '1')).toBe('a:1');
    await link.trouble({ kind: 'silent', toward });
    expect(await answerWithin(200, socket, '2')).toBe('nothing');
    const closed = once(socket, 'close');
    await link.heal();
    await closed;
    expect(await answerWithin(60_000, await open(), '3')).toBe('a:3');
  });

  it('is slow', async () => {
    const socket = await open();
    await link.trouble({ kind: 'slow', delayMs: 150, jitterMs: 0 });
    const sentAtMs = performance.now();
    expect(await answerWithin(60_000, socket, '1')).toBe('a:1');
    expect(performance.now() - sentAtMs).toBeGreaterThan(140);
  });

  it('tears answers', async () => {
    await link.trouble({ kind: 'torn', afterBytes: 4 });
    const socket = await open();
    const closed = once(socket, 'close');
    expect(await answerWithin(60_000, socket, '12345')).toBe('a:12');
    await closed;
  });

  it('stays refused when it is led elsewhere meanwhile', async () => {
    await link.trouble({ kind: 'refused' });
    await link.aim(portOf(servers[1]!));
    await expect(open()).rejects.toThrow('ECONNREFUSED');
    await link.heal();
    expect(await answerWithin(60_000, await open(), '1')).toBe('b:1');
  });

  it('leads elsewhere', async () => {
    const socket = await open();
    expect(await answerWithin(60_000, socket, '1')).toBe('a:1');
    const closed = once(socket, 'close');
    await link.aim(portOf(servers[1]!));
    await closed;
    expect(await answerWithin(60_000, await open(), '2')).toBe('b:2');
  });
});
