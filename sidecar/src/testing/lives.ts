import fc from 'fast-check';
import type { Answer, TestServer } from './server.ts';

// What may happen to a sidecar between requests: two that live through the same can be compared.

/** Of whoever asks, where values differ by that. */
export const TENANT = { 'x-tenant': 'a' };

/** What the namespace `user` may be, as far as answers depend on it. */
export const configs = fc.constantFrom<Record<string, unknown>>(
  {},
  { ttl: { soft: '5s', hard: '20s', negative: '5s', staleIfError: '30s', jitter: '50%' } },
  { ttl: { soft: '5s', hard: '20s', jitter: '0%' }, refresh: { early: 10 } },
  { onInvalidate: 'stale', grace: { for: '30s', serve: 'always' } },
  { vary: { headers: ['accept-language'], identity: ['x-tenant'] } },
);

export const rarely = <T>(often: fc.Arbitrary<T>, seldom: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 5, arbitrary: often }, { weight: 1, arbitrary: seldom });
export const of = (...texts: string[]): fc.Arbitrary<string> => fc.constantFrom(...texts);

/** A value is loaded and stored. */
export const fills = fc.record({
  does: fc.constant('fill' as const),
  namespace: rarely(of('user'), of('plain', 'list')),
  key: rarely(of('1'), of('2', '%C3%A9', '%2F', '%00', '.')),
  body: fc.constantFrom('', 'v', 'ü', 'x'.repeat(4096), 'y'.repeat(5000), undefined),
  headers: fc.constantFrom<Record<string, string>>(
    {},
    { 'content-type': 'text/html; charset=\u00fc' },
    { 'cache-control': 'max-age=4' },
    { 'surrogate-key': 'user:2' },
  ),
});
/** Time passes, rows change, the stream comes and goes. */
export const events = fc.oneof(
  { weight: 5, arbitrary: fc.record({ does: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 4_000 }) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('change' as const), id: fc.constantFrom('1', '2', 'é') }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constantFrom('stall' as const, 'uncover' as const, 'cover' as const) }),
  },
);
type Of<A> = A extends fc.Arbitrary<infer T> ? T : never;

/** Does it, and tells what was answered. */
export async function happen(
  sidecar: TestServer,
  what: Of<typeof fills> | Of<typeof events>,
): Promise<readonly Answer[]> {
  switch (what.does) {
    case 'fill': {
      const path = `/v1/cache/${what.namespace}/${what.key}`;
      const miss = await sidecar.ask('GET', path, { headers: { ...TENANT, 'cache-control': 'no-cache' } });
      const { lease } = miss;
      const headers = { ...TENANT, ...what.headers, ...(lease !== undefined && { 'tidemark-lease': lease }) };
      const absent = what.body === undefined ? { 'tidemark-absent': '?1' } : {};
      const put = await sidecar.ask('PUT', path, {
        headers: { ...headers, ...absent },
        ...(what.body !== undefined && { body: what.body }),
      });
      return [miss, put];
    }
    case 'wait':
      sidecar.clock.advance(what.ms);
      sidecar.stream.say();
      return [];
    case 'change':
      sidecar.stream.say({ users: [what.id] });
      return [];
    case 'stall':
      sidecar.clock.advance(5_001);
      return [];
    case 'uncover':
      sidecar.stream.say({ covers: [] });
      return [];
    case 'cover':
      sidecar.stream.say();
      return [];
  }
}
