import { createRequire } from 'node:module';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { abandonConnection, applyKafkaFixes, type KafkaConnection } from './kafka-fixes.ts';

// kafkajs's own connection against a server that misbehaves.

applyKafkaFixes();
const require = createRequire(import.meta.url);
const Connection = require('kafkajs/src/network/connection') as new (options: object) => KafkaConnection & {
  send(call: object): Promise<{ apiVersions: unknown[] }>;
};
const { requests } = require('kafkajs/src/protocol/requests') as {
  requests: { ApiVersions: { protocol(options: { version: number }): () => object } };
};

const apiVersions = (): object => requests.ApiVersions.protocol({ version: 0 })();

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const logger = { ...quiet, namespace: () => logger };

let server: Server;
let sockets: Socket[];
/** What the server does with the requests of its n-th connection. */
let behave: (socket: Socket, request: Buffer, connection: number) => void;

beforeEach(async () => {
  sockets = [];
  server = createServer({ allowHalfOpen: true }, (socket) => {
    const connection = sockets.push(socket) - 1;
    socket.on('data', (request: Buffer) => behave(socket, request, connection));
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

function connect(options: object = {}): InstanceType<typeof Connection> {
  const { port } = server.address() as AddressInfo;
  const socketFactory = (require('kafkajs/src/network/socketFactory') as () => unknown)();
  return new Connection({
    host: '127.0.0.1',
    port,
    logger,
    socketFactory,
    requestTimeout: 60_000,
    connectionTimeout: 60_000,
    ...options,
  });
}

/** A whole answer to a request: one API, version 0. */
function answerTo(request: Buffer): Buffer {
  const body = Buffer.alloc(4 + 4 + 2 + 4 + 6);
  body.writeInt32BE(body.length - 4, 0);
  body.writeInt32BE(request.readInt32BE(8), 4);
  body.writeInt32BE(1, 10);
  return body;
}

function closed(socket: Socket | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (socket === undefined || socket.destroyed) resolve();
    else socket.once('close', () => resolve()).resume();
    // A server that keeps its half open sees only the end of ours.
    socket?.once('end', () => socket.end());
  });
}

describe('a connection', () => {
  it('reads the answers of a new socket although the old one was cut in the middle of one', async () => {
    behave = (socket, request, connection) => {
      const answer = answerTo(request);
      if (connection === 0) socket.write(answer.subarray(0, 9), () => socket.destroy());
      else socket.write(answer);
    };
    const connection = connect();
    await connection.connect();
    await expect(connection.send(apiVersions())).rejects.toThrow(/Closed connection|Connection error/);
    await connection.connect();
    await expect(connection.send(apiVersions())).resolves.toMatchObject({ apiVersions: [{}] });
    await connection.disconnect();
  });

  it.each([
    ['a size below zero', (request: Buffer) => Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff]), request])],
    ['a size that nobody sends', () => Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])],
    ['no room for a correlation id', () => Buffer.from([0, 0, 0, 2, 0, 0])],
    ['a body that ends too early', (request: Buffer) => cutBody(answerTo(request))],
  ])('takes %s for a broken connection, and the next one works', async (_name, garbage) => {
    behave = (socket, request, connection) => socket.write(connection === 0 ? garbage(request) : answerTo(request));
    const connection = connect();
    await connection.connect();
    const failed = connection.send(apiVersions());
    await expect(failed).rejects.toMatchObject({ name: 'KafkaJSConnectionError', retriable: true });
    await closed(sockets[0]);
    expect(connection.isConnected()).toBe(false);
    await connection.connect();
    await expect(connection.send(apiVersions())).resolves.toBeDefined();
    await connection.disconnect();
  });

  it('gives up the socket on which a request was not answered in time', async () => {
    behave = () => undefined;
    const connection = connect({ requestTimeout: 300 });
    await connection.connect();
    const [late, behind] = [connection.send(apiVersions()), connection.send(apiVersions())];
    behind.catch(() => undefined);
    await expect(late).rejects.toMatchObject({ name: 'KafkaJSRequestTimeoutError' });
    await expect(behind).rejects.toBeDefined();
    await closed(sockets[0]);
    expect(connection.isConnected()).toBe(false);
  });

  it('shares one attempt between those who connect at once', async () => {
    behave = () => undefined;
    const connection = connect();
    await Promise.all([connection.connect(), connection.connect(), connection.connect()]);
    expect(sockets).toHaveLength(1);
    await connection.disconnect();
  });

  it('says why it could not be made', async () => {
    const connection = connect();
    await new Promise((resolve) => server.close(resolve));
    await expect(connection.connect()).rejects.toMatchObject({ name: 'KafkaJSConnectionError', code: 'ECONNREFUSED' });
    await expect(connection.connect()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    server = createServer();
  });

  it('closes its socket also when the peer does not', async () => {
    behave = (socket, request) => socket.write(answerTo(request));
    const connection = connect();
    await connection.connect();
    await connection.send(apiVersions());
    const { socket } = connection;
    await connection.disconnect();
    await closed(sockets[0]);
    await new Promise((resolve) => (socket?.destroyed === true ? resolve(true) : socket?.once('close', resolve)));
  });

  it('that was given up rejects what is under way, and never connects again', async () => {
    const arrived = Promise.withResolvers<void>();
    behave = () => arrived.resolve();
    const connection = connect();
    await connection.connect();
    const pending = connection.send(apiVersions());
    await arrived.promise;
    abandonConnection(connection);
    await expect(pending).rejects.toThrow('given up');
    await expect(connection.connect()).rejects.toThrow('given up');
    const connecting = connect();
    const attempt = connecting.connect();
    abandonConnection(connecting);
    await expect(attempt).rejects.toThrow('given up');
  });
});

describe('a request queue', () => {
  it('arms a timer only while something is pending', async () => {
    behave = (socket, request) => socket.write(answerTo(request));
    const connection = connect({ maxInFlightRequests: 1 });
    await connection.connect();
    await connection.send(apiVersions());
    expect(connection.requestQueue.throttleCheckTimeoutId).toBeNull();
    const both = [connection.send(apiVersions()), connection.send(apiVersions())];
    await Promise.all(both);
    expect(connection.requestQueue.pending).toHaveLength(0);
    await connection.disconnect();
    expect(connection.requestQueue.throttleCheckTimeoutId).toBeNull();
  });

  it('sends what waits for the end of a throttle', async () => {
    behave = (socket, request) => socket.write(answerTo(request));
    const connection = connect();
    await connection.connect();
    connection.requestQueue.throttledUntil = Date.now() + 50;
    await expect(connection.send(apiVersions())).resolves.toBeDefined();
    await connection.disconnect();
  });
});

function cutBody(answer: Buffer): Buffer {
  const cut = answer.subarray(0, answer.length - 3);
  cut.writeInt32BE(cut.length - 4, 0);
  return cut;
}
