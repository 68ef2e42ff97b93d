import type { IncomingMessage, ServerResponse } from 'node:http';
import { formatLsn } from '@tidemark/proto';
import { methodNotAllowed, problem, shown, type ProblemCode } from '@tidemark/runtime';
import type { Namespace, Namespaces } from '../core/namespace.ts';
import type { Sessions, Visit } from '../core/sessions.ts';
import type { PutRequest, WriteFailure, WriteRequest, Writer, Written } from '../core/writer.ts';
import { parseAddress, WRITE_PREFIX } from './address.ts';
import { sessionHeader } from './answers.ts';
import { readBody } from './body.ts';
import { parseCacheControl } from './cache-control.ts';
import { FieldError, parseContentType, parseTags, textOf } from './fields.ts';
import { refusingFields, type Handler } from './refuse.ts';
import { visitOf } from './visits.ts';

export interface WriteRouteOptions {
  readonly namespaces: Namespaces;
  readonly sessions: Sessions;
  /** Undefined for a namespace that takes no writes. */
  readonly writerOf: (namespace: Namespace) => Writer | undefined;
}

const METHODS = ['PUT', 'DELETE'] as const;

/** Fields that demand something which is not done here: to ignore them would break a promise that the caller counts on. */
const REFUSED_FIELDS = [
  'content-encoding',
  'content-range',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
  'tidemark-absent',
];

/** `PUT` and `DELETE /v1/write/{namespace}/{key}`: writes to the database, which the cache follows. */
export function writeRoute({ namespaces, sessions, writerOf }: WriteRouteOptions): Handler {
  return refusingFields(async (request, response) => {
    const method = METHODS.find((each) => each === request.method);
    if (method === undefined) {
      methodNotAllowed(request, response, METHODS.join(', '));
      return;
    }
    const address = parseAddress(request.url as string, WRITE_PREFIX);
    if (!address.ok) {
      problem(response, { code: 'bad-key', detail: address.detail });
      return;
    }
    const namespace = namespaces.get(address.namespace);
    if (namespace === undefined) {
      const detail = `no namespace ${shown(address.namespace)} is configured for this sidecar`;
      problem(response, { code: 'unknown-namespace', detail });
      return;
    }
    const writer = writerOf(namespace);
    if (writer === undefined) {
      const detail = `namespace "${namespace.name}" has neither writeThrough nor writeBehind in the configuration`;
      problem(response, { code: 'not-writable', detail });
      return;
    }
    for (const name of REFUSED_FIELDS)
      if (request.headers[name] !== undefined) throw new FieldError(`${name}: this is not supported here`);
    const { put, delete: remove } = writer;
    const visit = visitOf(sessions, request);
    const base = { namespace, key: address.key, headers: headersOf(request, writer), signal: whileOpen(response) };
    if (method === 'PUT' && put !== undefined) {
      const value = await valueOf(request, response, base);
      if (value !== undefined) answerWritten(response, { written: await put(value), isPut: true, visit });
    } else if (method === 'DELETE' && remove !== undefined) {
      answerWritten(response, { written: await remove(base), isPut: false, visit });
    } else {
      methodNotAllowed(request, response, put === undefined ? 'DELETE' : 'PUT');
    }
  });
}

/** Undefined when the request was answered already, or its caller has gone. */
async function valueOf(
  request: IncomingMessage,
  response: ServerResponse,
  base: WriteRequest,
): Promise<PutRequest | undefined> {
  const { headers } = request;
  const tags = parseTags(request.headersDistinct['surrogate-key']?.join(' '));
  const contentType = parseContentType(headers['content-type']);
  const { noStore, maxAge } = parseCacheControl(headers['cache-control']);
  if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined) {
    const detail = 'expected Content-Length (0 for an empty value) or a chunked body';
    problem(response, { code: 'length-required', detail });
    return undefined;
  }
  const { name, config } = base.namespace;
  const { maxItemBytes } = config;
  const read = await readBody(request, response, maxItemBytes);
  if (read.ok) {
    const maxAgeMs = noStore ? 0 : maxAge === undefined ? undefined : maxAge * 1000;
    return { ...base, body: read.body, contentType, tags, maxAgeMs };
  }
  if (read.why === 'too-large') {
    const detail = `values of namespace "${name}" have at most ${maxItemBytes} bytes`;
    problem(response, { code: 'too-large', detail, extra: { maxItemBytes } });
  }
  return undefined;
}

function answerWritten(
  response: ServerResponse,
  { written, isPut, visit }: { written: Written; isPut: boolean; visit: Visit | undefined },
): void {
  switch (written.kind) {
    case 'written': {
      const { lsn, created } = written;
      visit?.knows(lsn);
      const isNew = isPut && created === true;
      response.writeHead(isNew ? 201 : 204, {
        ...(lsn !== undefined && { 'Tidemark-Lsn': formatLsn(lsn) }),
        ...(isNew && { 'content-length': '0' }),
        ...sessionHeader(visit),
      });
      response.end();
      return;
    }
    case 'accepted':
      response.writeHead(202, { 'content-length': '0', ...sessionHeader(visit) }).end();
      return;
    case 'nothing': {
      const detail = 'the statement touched no row, so nothing was changed';
      problem(response, { code: 'nothing-written', detail, headers: sessionHeader(visit) });
      return;
    }
    case 'failed': {
      const { why, detail, sqlState, isOver } = written;
      // What may have been written is the session's own all the same.
      if (why === 'unknown') visit?.missed(undefined);
      problem(response, {
        code: FAILURES[why],
        detail,
        extra: { ...(sqlState !== undefined && { sqlState }), ...(isOver !== undefined && { isOver }) },
        headers: { ...(PASSING.has(why) && { 'retry-after': '1' }), ...sessionHeader(visit) },
      });
    }
  }
}

const FAILURES: Readonly<Record<WriteFailure, ProblemCode>> = {
  busy: 'unavailable',
  unavailable: 'unavailable',
  timeout: 'timeout',
  unknown: 'write-unknown',
  conflict: 'write-conflict',
  invalid: 'write-invalid',
  'too-large': 'too-large',
  misconfigured: 'upstream-failed',
};

/** The same may work in a while. To repeat what may have been written is for the caller to decide. */
const PASSING: ReadonlySet<WriteFailure> = new Set(['busy', 'unavailable']);

function headersOf(request: IncomingMessage, { headers: names }: Writer): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of names) {
    const values = request.headersDistinct[name];
    if (values === undefined) continue;
    if (values.length > 1) throw new FieldError(`${name}: found ${values.length} of them, expected one`);
    found[name] = textOf(name, values[0] as string);
  }
  return found;
}

function whileOpen(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  return gone.signal;
}
