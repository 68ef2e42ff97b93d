import { PROBLEMS, type ProblemCode } from '@tidemark/runtime';
import { MAX_KEY_BYTES } from './address.ts';
import { MAX_BATCH_ITEMS } from './batch-body.ts';
import { MAX_BATCH_BYTES } from './batch-route.ts';
import { MAX_TAG_BYTES, MAX_TAGS } from './fields.ts';
import { schemas, text } from './openapi-schemas.ts';
import { warmPaths } from './openapi-warm.ts';
import { writePaths } from './openapi-writes.ts';

/*
 * The interface as an OpenAPI 3.1 document, written by hand: what matters here are headers and their meaning, which no
 * generator could know. openapi.test.ts checks it against what the server really answers.
 */

function header(description: string, example: string): object {
  return { description, schema: text, example };
}

function field(name: string, description: string, more: object = {}) {
  return { name, in: 'header', description, schema: text, ...more };
}

const problemContent = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } };

/** The answers that problems give, one a status. */
function problems(...codes: readonly ProblemCode[]): Record<string, object> {
  const statuses = new Set(codes.map((code) => PROBLEMS[code].status));
  return Object.fromEntries(
    [...statuses].map((status) => {
      const titles = codes
        .filter((code) => PROBLEMS[code].status === status)
        .map((code) => `\`${code}\`: ${PROBLEMS[code].title}.`);
      return [
        String(status),
        {
          description: titles.join(' '),
          headers: problemHeaders,
          content: problemContent,
        },
      ];
    }),
  );
}

const cacheStatus = header(
  'RFC 9211. `hit` with `detail=l1`, `l2`, `stale` (beyond its hard TTL), `grace` (invalidated), `pending` (a write that waits for the database) or `negative`; `ttl` counts to the end of freshness. `fwd=miss; stored`, or another `fwd`, for what the sidecar loaded (`detail=loaded`; `passed` where it may not be stored), with `collapsed` where another request was waited for; `fwd=miss`, `fwd=stale` (what is cached is too old), `fwd=request` (it is not what the request takes) or `fwd=bypass` (with `fwd-status` where the sidecar read the origin for this caller alone) with the reason: `starting`, `stalled`, `uncovered`; of a session or a least position also `behind` (not applied in time), `no-position` (the invalidator cannot be asked) or `crowded`.',
  'tidemark; hit; ttl=57; detail=l1',
);
const lsn = header(
  'The applied watermark under which this was served: every commit at or before it is in the value. Absent in ttl_only namespaces, and with `detail=grace`, `passed` and `pending`.',
  '16/B374D848',
);
const session = header(
  'To requests with Tidemark-Session: what the session has seen now. Opaque, at most 2048 characters that need no escape in a URL; send the newest one, or several with commas between.',
  '1~main~1763700000000~16B374D848',
);
const vary = header('Request headers by which the values of this namespace differ.', 'accept-language, x-tenant');
const problemHeaders = {
  'Cache-Status': { ...cacheStatus, description: 'Where a value was to be had and could not be loaded.' },
  'Tidemark-Session': session,
  'Retry-After': header('Seconds; where the same may work then.', '1'),
  Vary: vary,
};
const valueHeaders = {
  'Cache-Status': cacheStatus,
  'Tidemark-Lsn': lsn,
  ETag: header('Strong tag of the bytes and their type.', '"xiQnvOZeoHT-vl5Q7q_6uF"'),
  'Tidemark-Session': session,
  'Tidemark-Lease': header(
    'Of a value that is beyond its soft TTL, to one caller at a time: load it anew and store it with this.',
    '1-Zk3vQm1cT5w8hT2n',
  ),
  Vary: vary,
  Age: header('Seconds since the value was stored.', '3'),
  'Cache-Control': header(
    'Always `no-cache`: a cache behind this one hears of no change, so it has to ask again.',
    'no-cache',
  ),
};
const missHeaders = {
  'Cache-Status': cacheStatus,
  'Tidemark-Lease': header(
    'The right to fill this key, once and for a few seconds. Absent where nothing may be cached, or where the value is known not to exist.',
    '1-Zk3vQm1cT5w8hT2n',
  ),
  'Tidemark-Session': session,
  Vary: vary,
  Age: valueHeaders.Age,
  'Tidemark-Lsn': lsn,
  'Cache-Control': header('`no-cache` where it is known that there is no such value, else `no-store`.', 'no-store'),
};
const sessionHeaders = { 'Tidemark-Session': session };
const storedHeaders = { ...sessionHeaders, Vary: vary };
const sessionField = field(
  'Tidemark-Session',
  'What the last answer of this session gave, or `new`: nothing older is answered than what the session has seen or written, whichever sidecar is asked.',
);
const body = { content: { '*/*': { schema: { type: 'string', format: 'binary' } } } };
const notModified = { description: '`If-None-Match` names the value.', headers: valueHeaders };
const missing = {
  description:
    'Nothing is cached (fill it, if there is a lease), nothing may be cached now (`fwd=bypass`), or it is known that there is no such value (`detail=negative`). With a problem document: no such namespace.',
  headers: missHeaders,
  content: problemContent,
};

const readFields = [
  field(
    'Cache-Control',
    '`no-cache`: a miss with a lease, or what the loader finds now, whatever is cached, and an old value only with `stale-if-error`. `only-if-cached`: neither waits nor takes the lease. `max-age`, `min-fresh`: nothing that is older, or not fresh for so long. `max-stale`: also what is stale or in grace. `stale-if-error`: the same, only where the value cannot be loaded. The strictest holds of those that contradict each other. Other directives are ignored.',
  ),
  field('If-None-Match', 'Entity tags of what the caller has.'),
  field(
    'Tidemark-Min-Lsn',
    'Waits a bounded time until this position was applied: an LSN, or `epoch:LSN`. A writer takes `pg_current_wal_insert_lsn()` in a statement after its COMMIT. Refused in ttl_only namespaces.',
    { example: '16/B374D848' },
  ),
  sessionField,
];

const purgeDone = {
  description: 'This sidecar has applied it.',
  headers: { 'Tidemark-Lsn': header('Position of the purge.', '16/B374D848'), ...storedHeaders },
};
const purgeFailed = problems('unavailable');

const cachePath = {
  parameters: [
    { name: 'namespace', in: 'path', required: true, schema: text },
    {
      name: 'key',
      in: 'path',
      required: true,
      description: `Percent-encoded UTF-8, at most ${MAX_KEY_BYTES} bytes when decoded; "/" is written %2F.`,
      schema: text,
    },
  ],
  get: {
    summary: 'Read a value',
    description:
      'Of several callers that miss the same key one gets a lease at once; the others wait a bounded time for its value.',
    parameters: readFields,
    responses: {
      200: { description: 'The value.', headers: valueHeaders, ...body },
      304: notModified,
      404: missing,
      ...problems('bad-key', 'bad-request', 'upstream-failed', 'unavailable', 'timeout', 'load-loop'),
    },
  },
  head: {
    summary: 'The headers of a read, without the value, without waiting and without the lease',
    parameters: readFields,
    responses: {
      200: { description: 'There is a value.', headers: valueHeaders },
      304: notModified,
      404: missing,
      ...problems('bad-key', 'bad-request', 'upstream-failed', 'unavailable', 'timeout', 'load-loop'),
    },
  },
  put: {
    summary: 'Store a value that was loaded after a miss',
    parameters: [
      field('Tidemark-Lease', 'Of the miss. Required unless the namespace is ttl_only.'),
      field(
        'Cache-Control',
        '`max-age`, `stale-while-revalidate` and `stale-if-error` shorten what the namespace allows, never lengthen it; `no-store` and `max-age=0` are refused. Other directives are ignored.',
      ),
      field(
        'Surrogate-Key',
        `Tags, divided by spaces: at most ${MAX_TAGS}, each percent-encoded UTF-8 of at most ${MAX_TAG_BYTES} bytes.`,
      ),
      field(
        'Source-Lsn',
        '`pg_last_wal_replay_lsn()` of the standby that was read, taken in a statement before the query.',
        { example: '16/B374D848' },
      ),
      field(
        'Tidemark-Loaded-At',
        '`pg_current_wal_insert_lsn()` of the server that was read (`pg_last_wal_replay_lsn()` of a standby), taken in a statement after the query. Sessions and snapshots need it, and ask for it where it is not given.',
        { example: '16/B374D848' },
      ),
      sessionField,
      field('Vary', 'Request headers by which the value differs; only those that the namespace has in `vary`.'),
      field('Tidemark-Absent', '`?1` stores that there is no such value; without a body.'),
      field('Content-Type', 'Given back with the value. Default: application/octet-stream.'),
    ],
    requestBody: body,
    responses: {
      201: { description: 'Stored.', headers: storedHeaders },
      204: { description: 'Stored in place of another value.', headers: storedHeaders },
      ...problems(
        'bad-key',
        'bad-request',
        'unknown-namespace',
        'fenced',
        'lease-expired',
        'length-required',
        'too-large',
        'lease-required',
        'unavailable',
      ),
    },
  },
  delete: {
    summary: 'Purge a key everywhere',
    description:
      'Through the WAL, in commit order with everything else. In a ttl_only namespace: here and in Redis only.',
    parameters: [sessionField],
    responses: { 204: purgeDone, ...problems('bad-key', 'unknown-namespace'), ...purgeFailed },
  },
};

const batchPath = {
  post: {
    summary: 'Store and read many values at once, if wanted as of one position',
    description:
      `Stores first, then reads. At most ${MAX_BATCH_ITEMS} keys, ${MAX_BATCH_BYTES} bytes in the request and as many of values in the answer. ` +
      'Headers of a read hold for all keys; those of a store stand in the document. `consistency: "snapshot"` waits a bounded time until all values held at one position.',
    parameters: [...readFields.filter(({ name }) => name !== 'If-None-Match')],
    requestBody: {
      required: true,
      content: { 'application/json': { schema: { $ref: '#/components/schemas/Batch' } } },
    },
    responses: {
      200: {
        description: 'What came of each, also where nothing was found or stored.',
        headers: sessionHeaders,
        content: { 'application/json': { schema: { $ref: '#/components/schemas/BatchAnswer' } } },
      },
      ...problems('bad-request', 'unknown-namespace', 'too-large', 'load-loop', 'unavailable'),
    },
  },
};

const purgePath = {
  post: {
    summary: 'Purge keys, tags and namespaces everywhere',
    parameters: [sessionField],
    requestBody: {
      required: true,
      content: { 'application/json': { schema: { $ref: '#/components/schemas/Purge' } } },
    },
    responses: { 204: purgeDone, ...problems('bad-request', 'unknown-namespace', 'too-large'), ...purgeFailed },
  },
};

function page(summary: string, type: string, schema: object = text): object {
  return { get: { summary, responses: { 200: said(summary, type, schema) } } };
}

function said(description: string, type = 'text/plain', schema: object = text): object {
  return { description, content: { [type]: { schema } } };
}

const ready = page('Whether requests should be sent here', 'text/plain');

/** Body of `GET /openapi.json`. */
export const openapi = {
  openapi: '3.1.0',
  info: {
    title: 'Tidemark sidecar',
    version: '1',
    description:
      'A coherent cache over Postgres. Errors are problem documents (RFC 9457). Whatever is asked may be answered 400, 404, 405, 408, 417 or 431, where it is no HTTP/1.1, nothing of this server, too slow, or too large. What is no value and tells of none is `Cache-Control: no-store`.',
  },
  paths: {
    '/v1/cache/{namespace}/{key}': cachePath,
    '/v1/batch': batchPath,
    '/v1/purge': purgePath,
    ...warmPaths(problems),
    ...writePaths(problems),
    '/v1/status': page('Positions, layers and namespaces, for people and scripts', 'application/json', {
      $ref: '#/components/schemas/Status',
    }),
    '/openapi.json': page('This document', 'application/json', { type: 'object' }),
    '/livez': page('Whether the process lives; depends on nothing else', 'text/plain'),
    '/readyz': {
      get: {
        ...(ready as { get: object }).get,
        responses: { 200: said('Send them.'), 503: said('It is going to end.') },
      },
    },
    '/metrics': page('Prometheus text', 'text/plain'),
  },
  components: { schemas },
};
