import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { formatAddress, type ListenAddress } from './address.ts';
import { createHttpServer, hasPath } from './http-server.ts';
import { badTarget, methodNotAllowed, notFound, problem } from './problem.ts';

/** What a person has to look at, by the system's word for it. */
const LISTEN_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process, or another address of this one, has it',
  EADDRNOTAVAIL: 'this machine does not have it',
  ENOTFOUND: 'the name of the host is not known',
  // Node says so of a socket whose folder is not there, too.
  EACCES: 'this user may not have it, or the folder of the socket is not there',
};

function listenError(error: NodeJS.ErrnoException, address: ListenAddress): NodeJS.ErrnoException {
  const { code = '', message } = error;
  const reason = LISTEN_PROBLEMS[code] ?? message;
  const told = new Error(`found no way to listen on ${formatAddress(address)}: ${reason} (${code})`, { cause: error });
  return Object.assign(told, { code });
}

/** Begins to listen; resolves with the address that was bound. Rejects with the system's `code` (EADDRINUSE, EACCES). */
export function listen(server: Server, address: ListenAddress): Promise<ListenAddress> {
  // A socket file of a process that was killed is in the way of the next one.
  if ('path' in address) rmSync(address.path, { force: true });
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => reject(listenError(error, address));
    server.once('error', fail);
    server.listen('path' in address ? { path: address.path } : { host: address.host, port: address.port }, () => {
      server.off('error', fail);
      const bound = server.address() as AddressInfo | string;
      resolve(typeof bound === 'string' ? { path: bound } : { host: bound.address, port: bound.port });
    });
  });
}

/** How often a server that closes looks for connections whose request has ended. */
const CUT_IDLE_MS = 50;

/**
 * Stops accepting, lets requests in flight end, and cuts what is still open after `graceMs`. Clients that keep their
 * connections do not hold it up: Node looks once for idle connections, this looks until the last one is gone.
 */
export function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    const cutIdle = setInterval(() => server.closeIdleConnections(), CUT_IDLE_MS);
    server.close(() => {
      clearTimeout(cut);
      clearInterval(cutIdle);
      resolve();
    });
    // Says `Connection: close` to those who would ask on and on over a connection that is never idle.
    const isLast = (_request: IncomingMessage, response: ServerResponse): void => {
      response.shouldKeepAlive = false;
    };
    server.prependListener('request', isLast).prependListener('checkContinue', isLast);
  });
}

/** What probes and scrapers are told. */
export interface Health {
  /** Why the process cannot do its job, or undefined when it can. Asked on every GET /readyz. */
  readonly unready: () => string | undefined;
  /** What GET /readyz says where it can (default: ok). */
  readonly ready?: () => string;
  /** Prometheus text. Asked on every GET /metrics. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
}

/**
 * Answers GET /livez, /readyz and /metrics; returns false for any other path, which it leaves alone. Liveness depends on
 * nothing but this process (never on Redis, Kafka or Postgres).
 */
export function answerHealth(health: Health, path: string, response: ServerResponse): boolean {
  if (path === '/livez') {
    plain(response, 200, 'ok\n');
  } else if (path === '/readyz') {
    const reason = health.unready();
    plain(response, reason === undefined ? 200 : 503, `${reason ?? health.ready?.() ?? 'ok'}\n`);
  } else if (path === '/metrics') {
    health.metrics().then(
      ({ contentType, body }) => plain(response, 200, body, contentType),
      () => problem(response, { code: 'internal', detail: 'the metrics could not be collected' }),
    );
  } else {
    return false;
  }
  return true;
}

/** A prober, a scraper and somebody who looks; nobody else has to do with it. */
const MAX_HEALTH_CONNECTIONS = 100;

/** A server with nothing but /livez, /readyz and /metrics. */
export function createHealthServer(health: Health): Server {
  const limits = { maxConnections: MAX_HEALTH_CONNECTIONS };
  return createHttpServer((request, response) => {
    if (!hasPath(request)) {
      badTarget(request, response);
      return;
    }
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    if (request.method !== 'GET' && request.method !== 'HEAD') methodNotAllowed(request, response, 'GET, HEAD');
    else if (!answerHealth(health, path, response)) notFound(request, response);
  }, limits);
}

function plain(
  response: ServerResponse,
  status: number,
  body: string,
  contentType = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
