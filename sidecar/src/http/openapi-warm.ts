const text = { type: 'string' } as const;
const count = { type: 'integer', minimum: 0 } as const;

const warming = {
  type: 'object',
  properties: {
    id: text,
    namespace: text,
    what: { enum: ['keys', 'hot', 'sql'] },
    by: { enum: ['start', 'request', 'schedule'] },
    state: { enum: ['waiting', 'running', 'ended'] },
    end: {
      enum: ['done', 'cancelled', 'full', 'unavailable', 'failing', 'too-long', null],
      description:
        'full: memory has no room that is not used. unavailable: nothing could be cached, or no keys were to be had. failing: one key after the other could not be got.',
    },
    detail: { type: ['string', 'null'] },
    total: { type: ['integer', 'null'], description: 'Null until the keys are known.' },
    done: count,
    results: {
      type: 'object',
      properties: { loaded: count, shared: count, present: count, absent: count, failed: count },
      description:
        'loaded by the sidecar; shared by another one through L2; present before, or being got; absent in L2, and to be loaded by callers; failed.',
    },
    rate: { type: 'number', description: 'Keys a second since it began.' },
  },
} as const;

const order = {
  type: 'object',
  required: ['namespace'],
  properties: {
    namespace: text,
    keys: { type: 'array', items: text, maxItems: 10_000 },
    hot: { type: 'integer', minimum: 1, description: 'So many of the keys that sidecars read most.' },
    sql: { const: true, description: 'What warm.sql of the configuration answers.' },
  },
  description: 'One of keys, hot and sql.',
} as const;

const json = (schema: object) => ({ 'application/json': { schema } });

/** The paths of warm-route.ts. `problems` makes the answers that problems give. */
export function warmPaths(problems: (...codes: readonly WarmProblem[]) => object): Record<string, object> {
  const id = { name: 'id', in: 'path', required: true, schema: text };
  return {
    '/v1/warm': {
      post: {
        summary: 'Read keys into memory before anybody asks',
        requestBody: { required: true, content: json(order) },
        responses: {
          202: {
            description: 'It waits for its turn.',
            headers: { Location: { description: 'Where it is shown.', schema: text, example: '/v1/warm/8fK2' } },
            content: json({ type: 'object', properties: { id: text } }),
          },
          ...problems('bad-request', 'unknown-namespace', 'too-large', 'unavailable'),
        },
      },
      get: {
        summary: 'What became of warmings',
        responses: {
          200: {
            description: 'The newest last; some that are over are still shown.',
            content: json({ type: 'object', properties: { warmings: { type: 'array', items: warming } } }),
          },
          ...problems('unavailable'),
        },
      },
      delete: {
        summary: 'End all warmings',
        responses: {
          204: { description: 'They are over; keys that are under way end as they do.' },
          ...problems('unavailable'),
        },
      },
    },
    '/v1/warm/{id}': {
      get: {
        summary: 'What became of one',
        parameters: [id],
        responses: { 200: { description: 'So far.', content: json(warming) }, ...problems('not-found', 'unavailable') },
      },
      delete: {
        summary: 'End one',
        parameters: [id],
        responses: { 204: { description: 'It is over.' }, ...problems('not-found', 'unavailable') },
      },
    },
  };
}

type WarmProblem = 'bad-request' | 'unknown-namespace' | 'too-large' | 'unavailable' | 'not-found';
