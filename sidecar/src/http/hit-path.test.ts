import fc from 'fast-check';
import { expect, it } from 'vitest';
import { configs, events, fills, happen, of, rarely, TENANT } from '../testing/lives.ts';
import { testServer, type Answer, type TestServer } from '../testing/server.ts';

// The hit path answers some requests by itself. Nobody may be able to tell: two sidecars live through the same, one without it.

const ETAG = '{etag}';

const directive = fc.constantFrom(
  ...['', 'x', 'no-cache', 'only-if-cached', 'no-store', 'max-age=0', 'max-age=3', 'max-stale', 'max-stale=10'],
  ...['min-fresh=58', 'min-fresh=1', 'stale-if-error=3', 'max-age=x', 'no-cache, only-if-cached'],
);
const condition = fc.constantFrom<string | string[]>(
  ...['*', ' * ', '', ETAG, `W/${ETAG}`, `"a", ${ETAG}`, `"a",W/${ETAG},"b"`, ETAG.slice(1), 'x', `"${ETAG}"`],
  ...[
    ['"a"', ETAG],
    [ETAG, '"a"'],
    ['*', '"a"'],
  ],
);
const header = fc.oneof(
  fc.tuple(fc.constantFrom('if-none-match', 'If-None-Match'), condition),
  fc.tuple(fc.constantFrom('cache-control', 'Cache-Control', 'CACHE-CONTROL'), directive),
  fc.tuple(fc.constantFrom('if-none-match', 'If-None-Match'), condition),
  fc.tuple(fc.constant('tidemark-min-lsn'), fc.constantFrom('0/1', '1:0/1', 'x', '')),
  fc.tuple(fc.constant('Tidemark-Session'), fc.constantFrom('new', 'x', '')),
  fc.constantFrom<[string, string | string[]]>(
    ...([
      ['if-modified-since', 'Wed, 21 Oct 2015 07:28:00 GMT'],
      ['if-match', '"a"'],
      ['range', 'bytes=0-0'],
      ['pragma', 'no-cache'],
      ['expect', '100-continue'],
      ['accept-encoding', 'gzip, br'],
      ['x-tenant', 'b'],
      ['x-tenant', ''],
      ['x-tenant', ['a', 'b']],
      ['accept-language', 'de'],
      ['tidemark-load', '?1;of="user/1"'],
      ['x-thirteen-ch', '1'],
      ['x-sixteen-chars-', '1'],
    ] satisfies [string, string | string[]][]),
  ),
);
const request = fc.record({
  does: fc.constant('ask' as const),
  method: rarely(of('GET'), of('HEAD')),
  prefix: rarely(of(''), of('http://x', '/')),
  namespace: rarely(of('user'), of('plain', 'list', 'nobody', 'us%65r')),
  key: rarely(of('1', '%31'), of('2', '%C3%A9', '%c3%a9', '%2F', '%00', '%', '%ff', '1/2', '1?x', '', '.', '..', '1#')),
  headers: fc.oneof(fc.constant([]), fc.array(header, { maxLength: 2 })),
});
const step = fc.oneof(
  { weight: 9, arbitrary: request },
  { weight: 2, arbitrary: fills },
  { weight: 2, arbitrary: events },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** What a caller can tell an answer by; the time of day differs. */
function seen({ status, headers, body }: Answer): unknown {
  const { date: _, ...others } = headers;
  return { status, headers: others, body: body.toString('latin1') };
}

/** One of the two: everything it answers from one step, in order. */
async function live(sidecar: TestServer, what: Step, etag: string): Promise<readonly Answer[]> {
  if (what.does !== 'ask') return happen(sidecar, what);
  const headers: Record<string, string | string[]> = { ...TENANT };
  for (const [name, value] of what.headers)
    headers[name] = Array.isArray(value)
      ? value.map((each) => each.replaceAll(ETAG, etag))
      : value.replaceAll(ETAG, etag);
  return [await sidecar.ask(what.method, `${what.prefix}/v1/cache/${what.namespace}/${what.key}`, { headers })];
}

it('answers as the slow path does, whatever happened before and is asked', async () => {
  let hits = 0;
  await fc.assert(
    fc.asyncProperty(configs, fills, fc.array(step, { minLength: 8, maxLength: 20 }), async (user, first, steps) => {
      // With nobody who may wait each answer comes by itself.
      const [fast, slow] = await Promise.all([
        testServer({ user, waiters: 0 }),
        testServer({ user, waiters: 0, withoutHitPath: true }),
      ]);
      try {
        let etag = '"none"';
        let asked = 0;
        for (const what of [first, ...steps]) {
          const [found, expected] = await Promise.all([live(fast, what, etag), live(slow, what, etag)]);
          asked += found.length;
          expect(found.map(seen)).toEqual(expected.map(seen));
          for (const { headers } of expected) etag = headers.etag ?? etag;
          for (const name of ['user', 'list', 'plain']) expect(fast.of(name).counters).toEqual(slow.of(name).counters);
        }
        hits += asked - fast.slow();
      } finally {
        await Promise.all([fast.close(), slow.close()]);
      }
    }),
    { numRuns: 30 },
  );
  // Else it compares one with itself.
  expect(hits).toBeGreaterThan(5);
}, 900_000);
