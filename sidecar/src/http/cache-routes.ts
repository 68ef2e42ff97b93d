import type { IncomingMessage, ServerResponse } from 'node:http';
import { formatLsn } from '@tidemark/proto';
import { methodNotAllowed, problem, shown, type ProblemOptions } from '@tidemark/runtime';
import type { Coalescer } from '../core/coalescer.ts';
import type { Filler, FillRefusal } from '../core/filler.ts';
import { isKept, type BypassReason, type Forwarded, type Outcome, type ValueOutcome } from '../core/flights.ts';
import type { Namespace, Namespaces } from '../core/namespace.ts';
import type { Passing } from '../core/passing.ts';
import type { Clock } from '../core/ports.ts';
import type { Purger } from '../core/purger.ts';
import { mayLoad, modeOf, type Reader } from '../core/reader.ts';
import type { SourceReplica } from '../core/replica.ts';
import type { Sessions } from '../core/sessions.ts';
import { parseAddress } from './address.ts';
import {
  answerBypass,
  answerFailure,
  answerMiss,
  answerPurge,
  answerValue,
  sessionHeader,
  type Forward,
} from './answers.ts';
import { readBody } from './body.ts';
import { acceptsOf, lifetimeOf, parseCacheControl } from './cache-control.ts';
import { etagOf } from './etag.ts';
import { FieldError, parseBoolean, parseContentType, parsePosition, parseTags } from './fields.ts';
import { isOwnLoad, OWN_LOAD } from './load-mark.ts';
import { refusingFields, type Handler } from './refuse.ts';
import { addressFor, checkVary, setVary } from './target.ts';
import { refuseMinLsn, visitOf } from './visits.ts';

export interface CacheRoutesOptions {
  readonly namespaces: Namespaces;
  readonly replica: SourceReplica;
  readonly reader: Reader;
  readonly filler: Filler;
  readonly purger: Purger;
  readonly sessions: Sessions;
  readonly coalescer: Coalescer;
  readonly passing: Passing;
  readonly clock: Clock;
}

interface Target {
  readonly namespace: Namespace;
  readonly key: string;
  /** Where the value for this request is: the key, unless values differ by request headers. */
  readonly address: string;
}

type Route = (target: Target, request: IncomingMessage, response: ServerResponse) => void | Promise<void>;
const ALLOW = 'GET, HEAD, PUT, DELETE';

/** `/v1/cache/{namespace}/{key}`, whatever the hit path did not answer. */
export function cacheRoutes(options: CacheRoutesOptions): Handler {
  const get = getRoute(options);
  const routes: Readonly<Record<string, Route>> = {
    GET: get,
    HEAD: get,
    PUT: putRoute(options),
    DELETE: deleteRoute(options),
  };
  return refusingFields(async (request, response) => {
    const route = Object.hasOwn(routes, request.method as string) ? routes[request.method as string] : undefined;
    if (route === undefined) {
      methodNotAllowed(request, response, ALLOW);
      return;
    }
    const address = parseAddress(request.url as string);
    if (!address.ok) {
      problem(response, { code: 'bad-key', detail: address.detail });
      return;
    }
    const namespace = options.namespaces.get(address.namespace);
    if (namespace === undefined) {
      problem(response, {
        code: 'unknown-namespace',
        detail: `no namespace ${shown(address.namespace)} is configured for this sidecar`,
      });
      return;
    }
    const { key } = address;
    setVary(namespace, response);
    await route({ namespace, key, address: addressFor(namespace, key, request) }, request, response);
  });
}

function getRoute({ reader, replica, clock, sessions, coalescer, passing }: CacheRoutesOptions): Route {
  return ({ namespace, address: key }, request, response) => {
    refuseMinLsn(request, namespace);
    const visit = visitOf(sessions, request);
    const control = parseCacheControl(request.headers['cache-control']);
    const { noCache, onlyIfCached } = control;
    const accepts = acceptsOf(control, visit !== undefined);
    const isHead = request.method === 'HEAD';
    // Who asks with HEAD sees no value, so it would not load a missing one either; the sidecar would.
    const wouldNotLoad = isHead && !namespace.loads(key);
    const isLoop = !onlyIfCached && isOwnLoad(request, namespace, key);
    if (isLoop && noCache) {
      problem(response, OWN_LOAD);
      return;
    }
    const mode = modeOf({ noCache, onlyCached: onlyIfCached || wouldNotLoad || isLoop });
    const forwardOf = ({ forward }: Forwarded): Forward => (noCache ? 'request' : (forward ?? 'miss'));
    const bypass = (why: BypassReason): void => {
      visit?.missed(undefined);
      if (isLoop && passing.isFor(namespace, key, why)) problem(response, OWN_LOAD);
      else if (!mayLoad(mode) || !passing.isFor(namespace, key, why)) answerBypass(response, why, visit?.token());
      else
        void passing.read(namespace, key).then((passed) => {
          if (passed.kind === 'failed')
            answerFailure(response, { failure: passed, forward: 'bypass', session: visit?.token() });
          else answer({ ...passed, from: 'passed' }, why);
        });
    };
    const answer = (outcome: ValueOutcome, why?: BypassReason): void => {
      const isCoherent = namespace.rules !== undefined && isKept(outcome.from);
      answerValue(response, {
        entry: outcome.entry,
        from: outcome.from,
        bypass: why,
        forward: forwardOf(outcome),
        collapsed: outcome.collapsed,
        refresh: outcome.refresh?.token,
        wallMs: clock.wallMs(),
        lsn: isCoherent ? formatLsn(replica.applied) : undefined,
        ifNoneMatch: request.headers['if-none-match'],
        withBody: !isHead,
        session: visit?.token(),
      });
    };
    const settle = (outcome: Outcome): void => {
      if (isLoop && outcome.kind === 'miss') problem(response, OWN_LOAD);
      else if (outcome.kind === 'bypass') bypass(outcome.why);
      else if (outcome.kind === 'failed')
        answerFailure(response, { failure: outcome, forward: forwardOf(outcome), session: visit?.token() });
      else if (outcome.kind === 'miss') {
        const lease = outcome.lease?.token;
        if (namespace.rules !== undefined) visit?.missed(lease);
        answerMiss(response, { lease, forward: forwardOf(outcome), session: visit?.token() });
      } else if (isKept(outcome.from) && visit?.saw(outcome.entry) === false) bypass('behind');
      else {
        // Nobody knows how new it is: as if the session had loaded it itself.
        if (!isKept(outcome.from)) visit?.missed(undefined);
        answer(outcome);
      }
    };
    const read = (): void => {
      const waiter = reader.read({ namespace, key, mode, accepts, settle });
      if (waiter !== undefined) response.once('close', () => reader.leave(waiter));
    };
    // Whoever loads anyway has no need to wait for anything, and whoever cannot be answered should not.
    if (visit === undefined || namespace.rules === undefined || noCache || coalescer.bypass(namespace)) read();
    else {
      const leave = visit.gate((unmet) => {
        if (unmet === undefined) {
          read();
          return;
        }
        namespace.counters.bypassed += 1;
        bypass(unmet);
      });
      response.once('close', leave);
    }
  };
}

function putRoute({ filler, sessions }: CacheRoutesOptions): Route {
  return async ({ namespace, address: key }, request, response) => {
    const { headers } = request;
    const visit = visitOf(sessions, request);
    refuseFields(request, ['content-encoding', 'content-range', ...CONDITIONS]);
    checkVary(namespace, request);
    const token = single(request, 'tidemark-lease');
    if (token === undefined && namespace.rules !== undefined) {
      problem(response, {
        code: 'lease-required',
        detail: 'expected Tidemark-Lease with the value that the miss gave',
      });
      return;
    }
    const tags = parseTags(request.headersDistinct['surrogate-key']?.join(' '));
    const sourceLsn = parsePosition('Source-Lsn', single(request, 'source-lsn'));
    const loadedAt = parsePosition('Tidemark-Loaded-At', single(request, 'tidemark-loaded-at'));
    const absent = parseBoolean('Tidemark-Absent', single(request, 'tidemark-absent'));
    const contentType = parseContentType(headers['content-type']);
    const control = parseCacheControl(headers['cache-control']);
    if (control.noStore || control.maxAge === 0) {
      if (token !== undefined) filler.abandon(namespace, key, token);
      throw new FieldError('Cache-Control: found that the value may not be stored, so there is nothing to do here');
    }
    if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined && !absent) {
      problem(response, {
        code: 'length-required',
        detail: 'expected Content-Length (0 for an empty value) or a chunked body',
      });
      return;
    }
    const { maxItemBytes } = namespace.config;
    const read = await readBody(request, response, absent ? 0 : maxItemBytes);
    if (!read.ok) {
      if (read.why === 'aborted') return;
      if (absent) throw new FieldError('Tidemark-Absent: a value that does not exist has no body');
      if (token !== undefined) filler.abandon(namespace, key, token);
      problem(response, {
        code: 'too-large',
        detail: `values of namespace "${namespace.name}" have at most ${maxItemBytes} bytes`,
        extra: { maxItemBytes },
      });
      return;
    }
    const { body } = read;
    const outcome = filler.fill({
      namespace,
      key,
      token,
      sourceLsn,
      loadedAt,
      ...lifetimeOf(control),
      tags,
      absent,
      contentType,
      etag: etagOf(contentType, body),
      body,
    });
    // The caller has seen what it loaded, stored or not.
    if (namespace.rules !== undefined) visit?.knows(loadedAt, token);
    const session = sessionHeader(visit);
    if (outcome.kind === 'refused') {
      answerRefusal(response, outcome.why, session);
      return;
    }
    // Whoever reads through another sidecar after this answer finds the value, if Redis is well.
    await outcome.shared;
    response
      .writeHead(outcome.created ? 201 : 204, { ...session, ...(outcome.created && { 'content-length': '0' }) })
      .end();
  };
}

function answerRefusal(response: ServerResponse, why: FillRefusal, headers: Record<string, string>): void {
  problem(response, { ...REFUSALS[why], headers });
}

const REFUSALS: Readonly<Record<FillRefusal, ProblemOptions>> = {
  expired: { code: 'lease-expired', detail: 'the lease is unknown, was used, or is too old' },
  mismatch: { code: 'bad-request', detail: 'Tidemark-Lease: the lease was given for another key' },
  'no-lease': { code: 'lease-required' },
  fenced: {
    code: 'fenced',
    detail: 'it may lack a change that was applied since the miss, or one that readers of the database do not see yet',
  },
};

function deleteRoute({ purger, filler, sessions }: CacheRoutesOptions): Route {
  return async ({ namespace, key, address }, request, response) => {
    const visit = visitOf(sessions, request);
    refuseFields(request, CONDITIONS);
    if (namespace.rules === undefined) {
      if (await filler.drop(namespace, address)) response.writeHead(204, sessionHeader(visit)).end();
      else {
        const detail =
          'the value is gone here, but the backend did not say so: it may be served from there until its TTL';
        problem(response, { code: 'unavailable', detail, headers: { 'retry-after': '1', ...sessionHeader(visit) } });
      }
      return;
    }
    const outcome = await purger.purge({ purge: [{ namespace: namespace.name, keys: [key], tags: [], all: false }] });
    answerPurge(response, outcome, visit);
  };
}

/** A write on a condition that nobody looked at (RFC 9110 section 13.1) would be one that its caller did not want. */
const CONDITIONS = ['if-match', 'if-none-match'];

/** Fields that ask for something that is not done here: to ignore them would break a promise that the caller counts on. */
function refuseFields(request: IncomingMessage, names: readonly string[]): void {
  for (const name of names) {
    if (request.headers[name] !== undefined) throw new FieldError(`${name}: this is not supported here`);
  }
}

function single(request: IncomingMessage, name: string): string | undefined {
  const values = request.headersDistinct[name];
  if (values !== undefined && values.length > 1)
    throw new FieldError(`${name}: found ${values.length} of them, expected one`);
  return values?.[0];
}
