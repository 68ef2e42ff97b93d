import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Every problem that an HTTP interface of Tidemark answers. The code is stable: it is the last part of the problem's
 * `type`, and scripts may depend on it.
 */
export const PROBLEMS = {
  'bad-request': { status: 400, title: 'The request is malformed' },
  'bad-key': { status: 400, title: 'The key is not valid' },
  'unknown-namespace': { status: 404, title: 'There is no such namespace' },
  'not-writable': { status: 404, title: 'The namespace takes no writes' },
  'nothing-written': { status: 404, title: 'There was nothing to change' },
  'not-found': { status: 404, title: 'There is nothing at this address' },
  'method-not-allowed': { status: 405, title: 'The method is not allowed here' },
  'request-timeout': { status: 408, title: 'The request did not come in time' },
  fenced: { status: 409, title: 'The value may be stale: use it, but do not cache it' },
  'write-conflict': { status: 409, title: 'The database does not allow the write' },
  'lease-expired': { status: 410, title: 'The lease is not valid any more: read again' },
  'length-required': { status: 411, title: 'The length of the body is needed' },
  'too-large': { status: 413, title: 'The body is larger than the namespace allows' },
  'unsupported-media-type': { status: 415, title: 'The body is of a type that is not understood' },
  'expectation-failed': { status: 417, title: 'What the request expects is not done here' },
  'write-invalid': { status: 422, title: 'The database cannot make a value of what was sent' },
  'lease-required': { status: 428, title: 'The namespace takes values only with the lease of a miss' },
  'headers-too-large': { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'Something went wrong here' },
  'upstream-failed': { status: 502, title: 'A service behind this one failed' },
  unavailable: { status: 503, title: 'This cannot be done at the moment: try again' },
  'write-unknown': { status: 503, title: 'The value may have been written or not, and may still be' },
  timeout: { status: 504, title: 'It was not done in time' },
  'load-loop': { status: 508, title: 'The request is part of the load that it would wait for' },
} as const;

export type ProblemCode = keyof typeof PROBLEMS;

/** What {@link problem} says beyond what the code says. */
export interface ProblemOptions {
  readonly code: ProblemCode;
  /** What happened this time, for a person. */
  readonly detail?: string;
  /** Further members of the document, such as the SQL that mends something. */
  readonly extra?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The document of RFC 9457 for a problem. */
export function problemDocument(options: ProblemOptions): { readonly status: number; readonly body: string } {
  const { status, title } = PROBLEMS[options.code];
  const document = {
    type: `urn:tidemark:problem:${options.code}`,
    title,
    status,
    detail: options.detail,
    ...options.extra,
  };
  return { status, body: JSON.stringify(document) };
}

/** Answers a request with a problem. Does nothing when the answer has begun already. */
export function problem(response: ServerResponse, options: ProblemOptions): void {
  if (response.headersSent) return;
  const { status, body } = problemDocument(options);
  response.writeHead(status, {
    ...options.headers,
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  });
  if (response.req.method === 'HEAD') response.flushHeaders();
  else response.write(body);
  endAfterBody(response);
}

/** How much of a body that is refused is still read, so that the caller gets to see the answer. */
const LINGER_BYTES = 1024 * 1024;
const LINGER_MS = 2000;

/**
 * Ends an answer that was sent, once the rest of its request's body has run into nothing, within limits. To end at once would
 * reset the connection of a caller that is still sending, where it is to be closed: it would never see why.
 */
function endAfterBody(response: ServerResponse): void {
  const request = response.req;
  if (request.complete || request.destroyed) {
    response.end();
    return;
  }
  let bytes = 0;
  const cut = setTimeout(() => request.destroy(), LINGER_MS);
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > LINGER_BYTES) request.destroy();
  });
  request.once('end', () => response.end());
  request.once('close', () => clearTimeout(cut));
  request.on('error', () => undefined);
  request.resume();
}

/** Answers 404 where nothing is. */
export function notFound(request: IncomingMessage, response: ServerResponse): void {
  problem(response, {
    code: 'not-found',
    detail: `found the address ${shown(request.url ?? '')}, which is none of this server's`,
  });
}

/** Answers 405. @param allow methods, divided by commas */
export function methodNotAllowed(request: IncomingMessage, response: ServerResponse, allow: string): void {
  const detail = `found ${request.method ?? ''}, expected ${allow}`;
  problem(response, { code: 'method-not-allowed', detail, headers: { allow } });
}

/** Answers 400 where the target of a request is neither a path nor a URL: frameworks would answer in a form of their own. */
export function badTarget(request: IncomingMessage, response: ServerResponse): void {
  problem(response, {
    code: 'bad-request',
    detail: `found the address ${shown(request.url ?? '')}, expected a path or a URL`,
  });
}

const MOST_SHOWN = 80;

/** What a caller sent, in quotes, and no more of it than a person reads. */
export function shown(text: string): string {
  return JSON.stringify(text.length <= MOST_SHOWN ? text : `${text.slice(0, MOST_SHOWN).toWellFormed()}...`);
}
