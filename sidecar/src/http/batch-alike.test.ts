import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Loaded } from '../core/ports.ts';
import { configs, events, fills, happen, of, rarely, TENANT } from '../testing/lives.ts';
import { testServer, type Answer, type TestServer } from '../testing/server.ts';

// A batch answers for each key what a request of its own would have been answered: two sidecars live through the same, and one of
// them is asked for all keys at once.

type Found = Readonly<Record<string, unknown>>;

const reads = fc.record({
  does: fc.constant('read' as const),
  control: of(
    '',
    '',
    'no-cache',
    'only-if-cached',
    'max-age=3',
    'max-stale',
    'max-stale=10',
    'min-fresh=58',
    'stale-if-error=3',
  ),
  keys: fc
    .uniqueArray(fc.tuple(rarely(of('user'), of('plain', 'list')), of('1', '2', 'é', '/', '\0', '.')), {
      minLength: 1,
      maxLength: 4,
      selector: ([namespace, key]) => `${namespace} ${key}`,
    })
    // In a batch they stand by namespace.
    .map((keys) => keys.toSorted(([a], [b]) => a.localeCompare(b))),
});
const steps = fc.oneof(
  { weight: 6, arbitrary: reads },
  { weight: 2, arbitrary: fills },
  { weight: 2, arbitrary: events },
);

/** In the form in which a batch tells it. */
function told({ status, headers, body, lease }: Answer): Found {
  const parameters = new Map(
    String(headers['cache-status'])
      .split('; ')
      .map((each) => each.split('=') as [string, string]),
  );
  const common = {
    status,
    ...(lease !== undefined && { lease }),
    ...(headers.age !== undefined && { age: Number(headers.age) }),
    ...(parameters.has('ttl') && parameters.get('detail') !== 'passed' && { ttl: Number(parameters.get('ttl')) }),
  };
  if (headers['content-type'] === 'application/problem+json') return { status, failed: parameters.get('detail') };
  if (parameters.get('fwd') === 'bypass' && !parameters.has('fwd-status'))
    return { ...common, bypass: parameters.get('detail') };
  if (status === 200)
    return { ...common, text: body.toString(), contentType: headers['content-type'], etag: headers.etag };
  return parameters.get('detail') === 'negative' || parameters.has('fwd-status') ? { ...common, absent: true } : common;
}

/** Without what only one of the two forms tells: where what does not exist was found, and when what is kept nowhere ends. */
function comparable(found: Found): Found {
  if (found['problem'] !== undefined) return { status: found['status'], failed: expect.anything() as unknown };
  const untold = new Set(['detail', ...(found['detail'] === 'passed' ? ['ttl'] : [])]);
  return Object.fromEntries(Object.entries(found).filter(([name]) => !untold.has(name)));
}

async function oneByOne(sidecar: TestServer, keys: readonly [string, string][], headers: object): Promise<Found[]> {
  const found: Found[] = [];
  for (const [namespace, key] of keys)
    found.push(
      told(await sidecar.ask('GET', `/v1/cache/${namespace}/${encodeURIComponent(key)}`, { headers: { ...headers } })),
    );
  return found;
}

async function together(sidecar: TestServer, keys: readonly [string, string][], headers: object): Promise<Found[]> {
  const get: Record<string, string[]> = {};
  const places = keys.map(([namespace, key]) => [namespace, (get[namespace] ??= []).push(key) - 1] as const);
  const answer = await sidecar.ask('POST', '/v1/batch', { headers: { ...headers }, body: JSON.stringify({ get }) });
  const found = (JSON.parse(answer.body.toString()) as { get: Record<string, Found[]> }).get;
  return places.map(([namespace, place]) => comparable(found[namespace]?.[place] as Found));
}

const loaded = fc.constantFrom<Loaded>(
  { kind: 'value', body: Buffer.from('loaded'), contentType: 'text/plain', tags: [] },
  { kind: 'value', body: Buffer.from('for now'), contentType: 'text/plain', tags: [], maxAgeMs: 0 },
  { kind: 'absent' },
  { kind: 'failed', why: 'timeout', detail: 'too slow' },
);

it('answers for each key as a request of its own is answered', async () => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(
      configs.filter(({ ttl }) => (ttl as { jitter?: string } | undefined)?.jitter !== '50%'),
      fc.option(loaded, { nil: undefined }),
      fc.array(steps, { minLength: 6, maxLength: 16 }),
      async (user, loads, all) => {
        // What a batch waits for may be loaded anew behind it, and is newer then.
        fc.pre(loads === undefined || (user['ttl'] as { soft?: string } | undefined)?.soft === undefined);
        const loaders = loads && { user: { handles: () => true, load: () => Promise.resolve(loads) } };
        // With nobody who may wait each answer comes by itself; whoever is loaded for waits for that.
        const options = { user, ...(loaders === undefined ? { waiters: 0 } : { loaders, waiters: 50 }) };
        const [one, other] = await Promise.all([testServer(options), testServer(options)]);
        try {
          for (const what of all) {
            if (what.does !== 'read') {
              if (loaders === undefined || what.does !== 'fill')
                await Promise.all([happen(one, what), happen(other, what)]);
              continue;
            }
            const keys = loaders === undefined ? what.keys : what.keys.filter(([namespace]) => namespace === 'user');
            if (keys.length === 0) continue;
            const headers = { ...TENANT, 'cache-control': what.control };
            const [expected, found] = await Promise.all([oneByOne(one, keys, headers), together(other, keys, headers)]);
            expect(found).toEqual(expected);
            compared += keys.length;
          }
        } finally {
          await Promise.all([one.close(), other.close()]);
        }
      },
    ),
    { numRuns: 40 },
  );
  expect(compared).toBeGreaterThan(50);
}, 900_000);
