import { isUtf8 } from 'node:buffer';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { formatLsn, type Entry } from '@tidemark/proto';
import { problem, PROBLEMS, shown } from '@tidemark/runtime';
import type { BatchAnswer, BatchReader } from '../core/batch-reader.ts';
import type { Coalescer } from '../core/coalescer.ts';
import type { BatchItem } from '../core/distinct.ts';
import type { Filler } from '../core/filler.ts';
import type { Accepts } from '../core/freshness.ts';
import { isKept, type BypassReason } from '../core/flights.ts';
import type { Namespace, Namespaces } from '../core/namespace.ts';
import type { Clock, LoadFailure } from '../core/ports.ts';
import { mayLoad, modeOf, type ReadMode } from '../core/reader.ts';
import type { SourceReplica } from '../core/replica.ts';
import type { Sessions, Unmet, Visit } from '../core/sessions.ts';
import { FAILURES, FILL_STATUS, sessionHeader } from './answers.ts';
import { BatchError, parseBatch, type BatchBody, type BatchPut } from './batch-body.ts';
import { readBody } from './body.ts';
import { acceptsOf, parseCacheControl } from './cache-control.ts';
import { etagOf } from './etag.ts';
import { FieldError } from './fields.ts';
import { isOwnLoad, OWN_LOAD } from './load-mark.ts';
import { refusingFields, type Handler } from './refuse.ts';
import { addressFor } from './target.ts';
import { endCounted, refuseWhileUnread } from './unread.ts';
import { refuseMinLsn, visitOf } from './visits.ts';

/** Of a request, and of the values of an answer: JSON is read and written in one piece. Larger values have calls of their own. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

export interface BatchRouteOptions {
  readonly namespaces: Namespaces;
  readonly replica: SourceReplica;
  readonly batches: BatchReader;
  readonly filler: Filler;
  readonly coalescer: Coalescer;
  readonly sessions: Sessions;
  readonly clock: Clock;
}

/** What is answered for one key; `status` is that of a single call. */
type Result = Readonly<Record<string, unknown>> & { readonly status: number };

/** `POST /v1/batch`: stores, then reads; in JSON, with bodies as text where they are UTF-8, else in base64. */
export function batchRoute(options: BatchRouteOptions): Handler {
  const { namespaces } = options;
  return refusingFields(async (request, response) => {
    refuseWhileUnread();
    const visit = visitOf(options.sessions, request);
    const control = parseCacheControl(request.headers['cache-control']);
    const { noCache, onlyIfCached } = control;
    const mode = modeOf({ noCache, onlyCached: onlyIfCached });
    const accepts = acceptsOf(control, visit !== undefined);
    const read = await readBody(request, response, MAX_BATCH_BYTES);
    if (!read.ok) {
      if (read.why === 'too-large')
        problem(response, { code: 'too-large', detail: `a batch has at most ${MAX_BATCH_BYTES} bytes` });
      return;
    }
    let body: BatchBody;
    try {
      body = parseBatch(read.body);
    } catch (error) {
      if (!(error instanceof BatchError)) throw error;
      problem(response, { code: 'bad-request', detail: error.message });
      return;
    }
    const missing = namesOf(body).find((name) => namespaces.get(name) === undefined);
    if (missing !== undefined) {
      const detail = `no namespace ${shown(missing)} is configured for this sidecar`;
      problem(response, { code: 'unknown-namespace', detail });
      return;
    }
    for (const [name] of body.gets) refuseTtlOnly({ request, snapshot: body.snapshot }, of(namespaces, name));
    // Looked up now: the configuration may change while Redis is told of what is stored.
    const items = body.gets.flatMap(([name, keys]) =>
      keys.map((key): BatchItem => addressed(of(namespaces, name), key, request)),
    );
    const own = mayLoad(mode) && items.find(({ namespace, key }) => isOwnLoad(request, namespace, key));
    if (own) {
      problem(response, { ...OWN_LOAD, detail: `${shown(own.key)}: ${OWN_LOAD.detail}` });
      return;
    }
    const puts = body.puts.map((put) => ({ ...put, ...addressed(of(namespaces, put.namespace), put.key, request) }));
    const put = await storeAll(options, puts, visit);
    const answer = (answered: BatchAnswer): void =>
      answerBatch({ ...options, response, visit, body, put }, items, answered);
    readAll(options, { items, mode, accepts, snapshot: body.snapshot, visit, response, answer });
  });
}

function addressed(namespace: Namespace, key: string, request: IncomingMessage): BatchItem {
  return { namespace, key: addressFor(namespace, key, request) };
}

function namesOf({ puts, gets }: BatchBody): readonly string[] {
  return [...puts.map(({ namespace }) => namespace), ...gets.map(([name]) => name)];
}

function of(namespaces: Namespaces, name: string): Namespace {
  return namespaces.get(name) as Namespace;
}

function refuseTtlOnly(asked: { request: IncomingMessage; snapshot: boolean }, namespace: Namespace): void {
  refuseMinLsn(asked.request, namespace);
  if (asked.snapshot && namespace.rules === undefined)
    throw new FieldError(`consistency: namespace "${namespace.name}" is ttl_only and follows no positions`);
}

/** Stores what fits; each fill ends by itself. */
async function storeAll(
  options: BatchRouteOptions,
  puts: readonly (Omit<BatchPut, 'namespace'> & BatchItem)[],
  visit: Visit | undefined,
): Promise<readonly Result[]> {
  const shared: Promise<unknown>[] = [];
  const results = puts.map((put): Result => {
    const { namespace } = put;
    const { lease: token, loadedAt, body, contentType } = put;
    const { maxItemBytes } = namespace.config;
    if (body.length > maxItemBytes) {
      if (token !== undefined) options.filler.abandon(namespace, put.key, token);
      return { status: 413, problem: 'too-large' };
    }
    const outcome = options.filler.fill({ ...put, token, etag: etagOf(contentType, body) });
    // The caller has seen what it loaded, stored or not.
    if (namespace.rules !== undefined) visit?.knows(loadedAt, token);
    if (outcome.kind === 'refused') return FILL_STATUS[outcome.why];
    if (outcome.shared !== undefined) shared.push(outcome.shared);
    return { status: outcome.created ? 201 : 204 };
  });
  await Promise.all(shared);
  return results;
}

interface Reading {
  readonly items: readonly BatchItem[];
  readonly mode: ReadMode;
  readonly accepts: Accepts;
  readonly snapshot: boolean;
  readonly visit: Visit | undefined;
  readonly response: ServerResponse;
  readonly answer: (answer: BatchAnswer) => void;
}

/** Waits for what the caller's session demands, then reads. */
function readAll({ batches, coalescer }: BatchRouteOptions, reading: Reading): void {
  const { items, mode, accepts, snapshot, visit, response, answer } = reading;
  const read = (unmet?: Unmet): void =>
    void response.once('close', batches.read({ items, mode, accepts, snapshot, unmet, settle: answer }));
  const coherent = items.filter(({ namespace }) => namespace.rules !== undefined);
  const isAnswerable = coherent.some(({ namespace }) => coalescer.bypass(namespace) === undefined);
  if (visit === undefined || mode === 'reload' || mode === 'nothing' || !isAnswerable) {
    read();
    return;
  }
  response.once('close', visit.gate(read));
}

interface Answering extends BatchRouteOptions {
  readonly response: ServerResponse;
  readonly visit: Visit | undefined;
  readonly body: BatchBody;
  readonly put: readonly Result[];
}

function answerBatch(options: Answering, items: readonly BatchItem[], { outcomes, snapshot }: BatchAnswer): void {
  const { replica, response, visit, body, put, clock } = options;
  const wallMs = clock.wallMs();
  let bytes = 0;
  // A value that its session may not see takes the snapshot with it.
  let isSeen = true;
  const results = outcomes.map((outcome, i): Result => {
    const { namespace } = items[i] as BatchItem;
    const isCoherent = namespace.rules !== undefined;
    if (outcome.kind === 'miss') {
      if (isCoherent) visit?.missed(outcome.lease?.token);
      return { status: 404, ...(outcome.lease && { lease: outcome.lease.token }) };
    }
    if (outcome.kind === 'bypass') return bypassResult(visit, outcome.why);
    if (outcome.kind === 'failed') return failureResult(outcome);
    const { entry } = outcome;
    if (!isKept(outcome.from)) visit?.missed(undefined);
    else if (visit?.saw(entry) === false) {
      isSeen = false;
      return bypassResult(visit, 'behind');
    }
    // One value at least is answered, so whoever asks again for the rest comes to an end.
    if (bytes > 0 && bytes + entry.body.length > MAX_BATCH_BYTES) return { status: 413, problem: 'too-large' };
    bytes += entry.body.length;
    const { refresh, from: detail } = outcome;
    return { ...valueResult(entry, { detail, wallMs }), ...(refresh && { lease: refresh.token }) };
  });
  let from = 0;
  const get = body.gets.map(([name, keys]) => [name, results.slice(from, (from += keys.length))] as const);
  const text = JSON.stringify({
    lsn: formatLsn(replica.applied),
    ...(snapshot && snapshotResult(isSeen ? snapshot : { failed: 'behind' })),
    ...(put.length > 0 && { put }),
    // Not by assignment: a name may be `__proto__` where it is not known yet which ones are served.
    ...(get.length > 0 && { get: Object.fromEntries(get) }),
  });
  response.writeHead(200, {
    ...sessionHeader(visit),
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  endCounted(response, text);
}

function bypassResult(visit: Visit | undefined, bypass: BypassReason): Result {
  visit?.missed(undefined);
  return { status: 404, bypass };
}

function failureResult({ why, detail }: LoadFailure): Result {
  const code = FAILURES[why];
  return { status: PROBLEMS[code].status, problem: code, why: detail };
}

function snapshotResult(snapshot: NonNullable<BatchAnswer['snapshot']>): object {
  return 'at' in snapshot ? { snapshot: formatLsn(snapshot.at) } : { snapshot: null, why: snapshot.failed };
}

function valueResult(entry: Entry, { detail, wallMs }: { detail: string; wallMs: number }): Result {
  const { body, contentType, etag, absent, storedAtMs, freshUntilMs } = entry;
  const age = Math.max(0, Math.floor((wallMs - storedAtMs) / 1000));
  // A write that waits is fresh until the database has it, and nobody knows when.
  const ttl = detail === 'pending' ? {} : { ttl: Math.floor((freshUntilMs - wallMs) / 1000) };
  const common = { age, ...ttl, detail };
  if (absent) return { status: 404, absent, ...common };
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const value = isUtf8(bytes) ? { text: bytes.toString() } : { base64: bytes.toString('base64') };
  return { status: 200, ...value, contentType, etag, ...common };
}
