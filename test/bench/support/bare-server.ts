import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/*
 * What a hit is measured against: a node:http handler that knows its answer beforehand. Run as a process of its own with
 * the headers and the body's length to answer; says its port, and its CPU time in microseconds on GET /cpu.
 */

const [headers, bytes] = process.argv.slice(2) as [string, string];
const head = JSON.parse(headers) as Record<string, string>;
const body = Buffer.alloc(Number(bytes), 'x');
const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
  if (request.url === '/cpu') {
    const { user, system } = process.cpuUsage();
    response.end(String(user + system));
    return;
  }
  response.writeHead(200, head);
  response.end(body);
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
