/* JSON schemas of the bodies of openapi.ts. */

export const text = { type: 'string' } as const;
const names = { type: 'array', items: text };
const count = { type: 'integer' } as const;
const object = (properties: Record<string, object>): object => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
});
const mapOf = (of: object): object => ({ type: 'object', additionalProperties: of });
const maybeMs = { type: ['number', 'null'], description: 'Milliseconds; null where it is not known.' };

const batchPut = {
  type: 'object',
  required: ['namespace', 'key'],
  description: 'One of text, base64 and absent; the others as the headers of PUT.',
  properties: {
    namespace: text,
    key: text,
    lease: text,
    text,
    base64: text,
    absent: { const: true },
    contentType: text,
    tags: names,
    maxAge: { type: 'integer', minimum: 1 },
    staleWhileRevalidate: { type: 'integer', minimum: 0 },
    staleIfError: { type: 'integer', minimum: 0 },
    sourceLsn: text,
    loadedAt: text,
  },
};
const batchStored = {
  type: 'object',
  required: ['status'],
  properties: { status: { ...count, description: 'As that of PUT.' }, problem: text },
};
const batchFound = {
  type: 'object',
  required: ['status'],
  description: 'A value that finds no room in the answer any more has status 413: ask for it again.',
  properties: {
    status: { ...count, description: 'As that of GET.' },
    text: { ...text, description: 'The value where it is UTF-8.' },
    base64: { ...text, description: 'The value where it is not.' },
    absent: { const: true, description: 'It is known that there is no value.' },
    lease: { ...text, description: 'Load the value and store it.' },
    bypass: { ...text, description: 'Load it and keep it.' },
    contentType: text,
    etag: text,
    age: count,
    ttl: count,
    detail: { enum: ['l1', 'l2', 'coalesced', 'loaded', 'passed', 'stale', 'grace', 'pending'] },
    problem: text,
    why: { ...text, description: 'What went wrong, for a person.' },
  },
};

/** What bodies look like, by name. */
export const schemas = {
  Problem: object({ type: { ...text, description: 'urn:tidemark:problem:CODE, stable.' }, title: text, status: count }),
  Batch: {
    type: 'object',
    properties: {
      consistency: { enum: ['snapshot'] },
      get: { ...mapOf(names), description: 'Keys by namespace.' },
      put: { type: 'array', items: batchPut },
    },
  },
  BatchAnswer: {
    type: 'object',
    required: ['lsn'],
    properties: {
      lsn: {
        ...text,
        description:
          'As Tidemark-Lsn of a single answer. It says nothing of a value whose detail is grace, passed or pending.',
      },
      snapshot: {
        type: ['string', 'null'],
        description:
          'Where all values held; null where that could not be had. Then load what is missing in one transaction and ask again.',
      },
      why: {
        enum: ['missing', 'changing', 'behind', 'no-position'],
        description:
          'Why there is no snapshot: not everything was cached; some of it changed again and again; the newest load was not applied in time; nobody knows how new a value is.',
      },
      put: { type: 'array', items: batchStored, description: 'In the order of the request.' },
      get: { ...mapOf({ type: 'array', items: batchFound }), description: 'In the order of the request.' },
    },
  },
  Purge: object({
    purge: {
      type: 'array',
      items: {
        type: 'object',
        required: ['namespace'],
        properties: {
          namespace: text,
          keys: names,
          tags: names,
          prefixes: { ...names, description: 'Every key that begins with one of these.' },
          all: { type: 'boolean' },
        },
      },
    },
  }),
  Status: object({
    version: text,
    config: object({
      from: { enum: ['file', 'topic'] },
      state: {
        enum: ['waiting', 'taken'],
        description: 'waiting: no document has come yet, and every read is a miss.',
      },
      term: { type: ['integer', 'null'] },
      revision: { type: ['integer', 'null'] },
      complaint: { type: ['string', 'null'], description: 'What of the newest document was not taken, and why.' },
    }),
    rules: mapOf(object({ hash: text })),
    sources: mapOf(
      object({
        epoch: count,
        applied: text,
        visible: text,
        horizon: text,
        lagMs: { type: 'number' },
        state: { enum: ['live', 'starting', 'stalled'] },
      }),
    ),
    l1: object({ entries: count, bytes: count, maxBytes: count }),
    l2: object({ state: { enum: ['up', 'down', 'off'] }, lagMs: maybeMs }),
    namespaces: mapOf(object({ hits: object({ l1: count, l2: count }), misses: count, fills: count, refused: count })),
  }),
};
