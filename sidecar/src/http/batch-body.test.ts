import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Loaded } from '../core/ports.ts';
import { testServer } from '../testing/server.ts';
import { BatchError, MAX_BATCH_ITEMS, parseBatch } from './batch-body.ts';

// Whatever stands in a batch, it is refused in words or answered as /openapi.json says (testServer compares).

const anything = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom<unknown>(null, -1, 0, 1.5, 1e300, '', {}, []));
/** @param wrong how often something stands in the place of what is right: once in so many */
function documents(wrong: number): fc.Arbitrary<object> {
  const nearly = <T>(right: fc.Arbitrary<T>, other: fc.Arbitrary<unknown> = anything): fc.Arbitrary<unknown> =>
    Number.isFinite(wrong)
      ? fc.oneof({ weight: wrong, arbitrary: right }, { weight: 1, arbitrary: fc.oneof(anything, other) })
      : right;
  const known = fc.constantFrom('user', 'user', 'list', 'plain');
  const names = nearly(known, fc.constantFrom('nobody', '__proto__', 'constructor', ''));
  const keys = nearly(
    fc.oneof(
      fc.constantFrom('1', '1', '2', 'é', '\0', '__proto__'),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }),
    ),
    fc.constantFrom('\ud800', 'x'.repeat(513)),
  );
  const lsn = nearly(
    fc.constantFrom('0/1', '0/3F2', '16/B374D848'),
    fc.constantFrom('FFFFFFFF/FFFFFFFF', '1', '-0/1', '/'),
  );
  const seconds = (least: number): fc.Arbitrary<unknown> =>
    nearly(fc.constantFrom(least, 60, 2 ** 31, Number.MAX_SAFE_INTEGER), fc.constantFrom(-1, 0, 0.5));
  const about = {
    namespace: names,
    key: keys,
    lease: nearly(fc.constantFrom('t1', 't2', 't3', 'made-up')),
    contentType: nearly(fc.constantFrom('text/plain', ' '), fc.constantFrom('a\nb', '\u00fc', 'x'.repeat(256))),
    tags: nearly(fc.array(keys, { maxLength: 3 })),
    maxAge: seconds(1),
    staleWhileRevalidate: seconds(0),
    staleIfError: seconds(0),
    sourceLsn: lsn,
    loadedAt: lsn,
  };
  const value = fc.oneof<fc.Arbitrary<object>[]>(
    fc.record({ text: nearly(fc.string({ unit: 'binary', maxLength: 20 })) }),
    fc.record({ base64: nearly(fc.base64String({ maxLength: 20 })) }),
    fc.record({ absent: nearly(fc.constant(true)) }),
  );
  const put = fc
    .tuple(fc.record(about, { requiredKeys: ['namespace', 'key'] }), value)
    .map(([of, body]) => ({ ...of, ...body }));
  return fc.record(
    {
      consistency: nearly(fc.constant('snapshot')),
      put: nearly(fc.array(nearly(put), { maxLength: 3 })),
      get: nearly(
        fc.dictionary(names as fc.Arbitrary<string>, nearly(fc.array(keys, { minLength: 1, maxLength: 4 })), {
          maxKeys: 3,
        }),
      ),
      ...(Number.isFinite(wrong) && { more: anything }),
    },
    { requiredKeys: [] },
  );
}
const texts = fc.oneof(
  { weight: 4, arbitrary: documents(20).map((value) => Buffer.from(JSON.stringify(value))) },
  { weight: 8, arbitrary: documents(Infinity).map((value) => Buffer.from(JSON.stringify(value))) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)) },
);

it('is understood, or refused in words that name the place', () => {
  fc.assert(
    fc.property(texts, (bytes) => {
      try {
        const { puts, gets } = parseBatch(bytes);
        const items = puts.length + gets.flatMap(([, of]) => of).length;
        expect(items).toBeGreaterThan(0);
        expect(items).toBeLessThanOrEqual(MAX_BATCH_ITEMS);
      } catch (error) {
        expect(error).toBeInstanceOf(BatchError);
        expect((error as BatchError).message).toMatch(/^(?:body|consistency|get|put)\b.*: .{10,}/s);
      }
    }),
    { numRuns: 2_000 },
  );
});

it('is answered, whatever it asks for and whatever control the request has', async () => {
  const loaded: Loaded = { kind: 'value', body: Buffer.from([0xff]), contentType: 'x', tags: ['t'] };
  const load = (): Promise<Loaded> => Promise.resolve(loaded);
  const sidecar = await testServer({
    waiters: 0,
    user: { ttl: { soft: '1s', hard: '2s', jitter: '0%', staleIfError: '1m' }, onInvalidate: 'stale' },
    loaders: { list: { handles: (key) => key !== '1', load } },
  });
  try {
    const controls = ['', 'no-cache', 'only-if-cached', 'max-age=0', 'max-stale', 'min-fresh=9'];
    let answered = 0;
    await fc.assert(
      fc.asyncProperty(texts, fc.constantFrom(...controls), fc.boolean(), async (body, control, moves) => {
        if (moves) sidecar.clock.advance(700);
        sidecar.stream.say(moves ? { users: ['1'] } : {});
        const asked = sidecar.ask('POST', '/v1/batch', { body, headers: { 'cache-control': control } });
        const { status } = await asked;
        expect([200, 400, 404]).toContain(status);
        if (status === 200) answered += 1;
      }),
      { numRuns: 400 },
    );
    expect(answered).toBeGreaterThan(50);
    expect((await sidecar.ask('GET', '/livez')).status).toBe(200);
  } finally {
    await sidecar.close();
  }
}, 900_000);
