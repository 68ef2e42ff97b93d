import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openRequestPool } from './postgres-pool.ts';

// AuthenticationOk and ReadyForQuery (postgresql.org/docs/current/protocol-message-formats.html).
const welcome = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);

/** A server that lets everybody in and dies at the first statement. */
let server: Server;

beforeEach(async () => {
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write(welcome);
      socket.once('data', () => socket.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => {
  server.close();
});

// pg tells a lost connection by an event as well, which ends the process where nobody listens.
it('fails the request under way when Postgres dies, and nothing else', async () => {
  const { port } = server.address() as AddressInfo;
  const pool = openRequestPool({ host: '127.0.0.1', port, user: 'u', database: 'd', ssl: false });
  await expect(pool.use(async () => 'done')).rejects.toThrow('Connection terminated unexpectedly');
  await pool.close();
});
