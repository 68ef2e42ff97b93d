import type { IncomingMessage, OutgoingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { createServer } from './node-http.ts';
import { problem, problemDocument, type ProblemOptions } from './problem.ts';

/** Limits of every listener. Node's own default for headers; a request of more is answered 431. */
const MAX_HEADER_BYTES = 16 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer than the pools of common clients keep idle connections, so that it is they who close. */
const KEEP_ALIVE_MS = 75_000;
const CHECK_EVERY_MS = 5_000;

export interface ServerLimits {
  readonly maxConnections: number;
  /** Default: 30 s for the whole request. */
  readonly requestTimeoutMs?: number;
  /** Default: 75 s. */
  readonly keepAliveMs?: number;
}

/** A server for one listener, see {@link guardServer}. */
export function createHttpServer(listener: RequestListener, limits: ServerLimits): Server {
  const options = { maxHeaderSize: MAX_HEADER_BYTES, connectionsCheckingInterval: CHECK_EVERY_MS };
  return guardServer(createServer(options, listener), limits);
}

/** Bounds what callers may take of a server; what is no HTTP is answered with a problem as far as it can be, and then cut. */
export function guardServer<Guarded extends Pick<Server, LimitedMembers> & NodeJS.EventEmitter>(
  server: Guarded,
  limits: ServerLimits,
): Guarded {
  const { requestTimeoutMs = REQUEST_TIMEOUT_MS } = limits;
  server.maxConnections = limits.maxConnections;
  server.requestTimeout = requestTimeoutMs;
  server.headersTimeout = Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs);
  server.keepAliveTimeout = limits.keepAliveMs ?? KEEP_ALIVE_MS;
  server.on('clientError', onClientError);
  server.on('checkExpectation', onExpectation);
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    // Of an answer that waits for its turn on the connection Node would send this behind its head, inside the body
    // (lib/_http_outgoing.js: _send puts the head in front of what is queued). A server may omit it (RFC 9110 section 10.1.1).
    if (response.socket !== null) response.writeContinue();
    server.emit('request', request, response);
  });
  return server;
}
type LimitedMembers = 'maxConnections' | 'requestTimeout' | 'headersTimeout' | 'keepAliveTimeout';

/** RFC 9110, section 10.1.1: there is one expectation, which Node has recognized already. */
function onExpectation(_request: unknown, response: ServerResponse): void {
  problem(response, { code: 'expectation-failed', detail: 'Expect: expected 100-continue' });
}

const ending = new WeakSet<Duplex>();

function onClientError(error: NodeJS.ErrnoException & { reason?: string }, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  if (ending.has(socket)) return;
  ending.add(socket);
  const pending = answerUnderWay(socket);
  if (pending === undefined) {
    cut(socket, refusalOf(error));
    return;
  }
  // Requests that came whole are answered first; to write now would answer one of them with the mistake of a later one. An
  // answer that came before the whole of its request is out, and only waited for the rest.
  if (pending.req.complete) pending.once('close', () => cut(socket, ''));
  else cut(socket, '');
}

/** The answer that has to be sent before anything else may be; none where it is that of the request that went wrong. */
function answerUnderWay(socket: Duplex): ServerResponse | undefined {
  // Node's own handler of client errors looks there too (lib/_http_server.js, socketOnError); nothing public says it.
  const found = (socket as { _httpMessage?: OutgoingMessage | null })._httpMessage as ServerResponse | null | undefined;
  if (found === null || found === undefined) return undefined;
  return found.headersSent || found.req.complete ? found : undefined;
}

/** How long a caller may go on sending after it was told that it went wrong. */
const LINGER_MS = 1_000;

/**
 * Says the last word, and closes once the caller has. To close at once, with bytes of its that nobody has read, would reset
 * the connection, and it would not get to see the answer: over a Unix socket never, over TCP not always.
 */
function cut(socket: Duplex, last: string): void {
  // At once, or the handler of a request whose body is malformed would answer too; but an answer that was written a moment
  // ago leaves with the next tick.
  if (last !== '') socket.end(last);
  else setImmediate(() => socket.end());
  const cutting = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(cutting));
}

function refusalOf({ code, reason }: NodeJS.ErrnoException & { reason?: string }): string {
  const options: ProblemOptions =
    code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? { code: 'request-timeout', detail: 'the request was begun and did not come to its end in time' }
      : code === 'HPE_HEADER_OVERFLOW'
        ? { code: 'headers-too-large', detail: `expected at most ${MAX_HEADER_BYTES} bytes and 1000 lines of headers` }
        : { code: 'bad-request', detail: `expected HTTP/1.1, which this is not${reason ? `: ${reason}` : ''}` };
  const { status, body } = problemDocument(options);
  const head = [
    `HTTP/1.1 ${status} ${REASONS[status]}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'Connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

const PATH = /^\/[!-"$-~]*$/;
const ABSOLUTE = /^https?:\/\/[^/?#]*(.*)$/i;

/**
 * Makes a path of the absolute form of a target (RFC 9112, section 3.2.2). False for what is neither: frameworks leave it to
 * `url.parse`, which warns, throws, or guesses.
 */
export function hasPath(request: IncomingMessage): boolean {
  const target = request.url ?? '';
  if (PATH.test(target)) return true;
  const rest = URL.canParse(target) ? ABSOLUTE.exec(target)?.[1] : undefined;
  if (rest === undefined) return false;
  request.url = rest.startsWith('/') ? rest : `/${rest}`;
  return PATH.test(request.url);
}
