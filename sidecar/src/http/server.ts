import type { RequestListener, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { createServer, problemDocument, type ProblemCode } from '@tidemark/runtime';

/** Limits of every listener. */
const MAX_HEADER_BYTES = 16 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer than the pools of common clients keep idle connections, so that it is they who close. */
const KEEP_ALIVE_MS = 75_000;

/** A server for one listener. What is no HTTP is answered with a problem as far as it can be, and then cut. */
export function createHttpServer(listener: RequestListener, options: { maxConnections: number }): Server {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: 5000,
    },
    listener,
  );
  server.maxConnections = options.maxConnections;
  // Otherwise Node asks for the body before anybody could refuse it; body.ts asks instead.
  server.on('checkContinue', listener);
  server.on('clientError', onClientError);
  return server;
}

/** Later requests go to another listener; those that are under way end where they began. */
export function replaceListener(server: Server, before: RequestListener, after: RequestListener): void {
  server.off('request', before).on('request', after);
  server.off('checkContinue', before).on('checkContinue', after);
}

function onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    socket.end('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', () =>
      socket.destroy(),
    );
    return;
  }
  const code: ProblemCode = error.code === 'HPE_HEADER_OVERFLOW' ? 'headers-too-large' : 'bad-request';
  const { status, body } = problemDocument({ code });
  const head = [
    `HTTP/1.1 ${status} ${status === 431 ? 'Request Header Fields Too Large' : 'Bad Request'}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}
