import { createServer, type AddressInfo } from 'node:net';
import type { ClientConfig } from 'pg';

// AuthenticationOk and ReadyForQuery (postgresql.org/docs/current/protocol-message-formats.html).
const welcome = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);

/**
 * A server that lets everybody in and dies at the first statement. pg tells such a loss twice, by failing the statement and
 * by an event, which ends the process where nobody listens or where the listener throws.
 */
export async function startDyingPostgres(): Promise<{ readonly connection: ClientConfig; stop(): void }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write(welcome);
      socket.once('data', () => socket.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const connection = { host: '127.0.0.1', port, user: 'u', database: 'd', ssl: false };
  return { connection, stop: () => void server.close() };
}
