import { createLogger, createMemcached, type MemcachedClient } from '@tidemark/runtime';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../integration/support/eventually.ts';
import { startMemcached, type MemcachedServer } from '../kit/index.ts';
import { clientOf, MemcachedModel } from '../sim/unlogged/memcached.ts';

// The memcached of the simulation does what a real one does.

let server: MemcachedServer;
let real: MemcachedClient;
beforeAll(async () => {
  server = await startMemcached();
  const logger = createLogger({ service: 'test', instance: 'memcached', level: 'silent' });
  real = createMemcached(server.url, { deadlineMs: 60_000, logger, maxValueBytes: 1_000 });
  await eventually(() => {
    if (!real.isUp) throw new Error('no connection yet');
  });
});
afterAll(async () => {
  real.close();
  await server.stop();
});

const key = fc.constantFrom('a', 'b');
const value = fc.uint8Array({ maxLength: 8 });
const call = fc.oneof(
  fc.record({ name: fc.constantFrom('gets', 'delete'), key }),
  fc.record({ name: fc.constantFrom('add', 'set'), key, value }),
  // With the CAS of one of the last reads of the key, if there was one.
  fc.record({ name: fc.constantFrom('cas', 'deleteIf'), key, value, back: fc.nat({ max: 2 }) }),
  fc.record({ name: fc.constant('flush') }),
);

type Call = typeof call extends fc.Arbitrary<infer T> ? T : never;

/** What the calls answer, the numbers of CAS replaced by where they were read. */
async function play(client: MemcachedClient, flush: () => Promise<void> | void, calls: readonly Call[]) {
  const seen = new Map<string, string[]>();
  const answers: unknown[] = [];
  for (const one of calls) {
    if (!('key' in one)) {
      await flush();
      continue;
    }
    const known = seen.get(one.key) ?? [];
    const cas = 'back' in one ? (known.at(-1 - one.back) ?? '18446744073709551615') : '';
    switch (one.name) {
      case 'gets': {
        const found = await client.gets(one.key);
        if (found !== undefined && found.cas !== known.at(-1)) seen.set(one.key, [...known, found.cas]);
        answers.push(found && [[...found.value], seen.get(one.key)?.length]);
        break;
      }
      case 'delete':
        answers.push(await client.delete(one.key));
        break;
      case 'deleteIf':
        answers.push(await client.deleteIf(one.key, cas));
        break;
      case 'cas':
        answers.push('value' in one && (await client.cas(one.key, one.value, { ttlS: 60, cas })));
        break;
      case 'add':
        answers.push('value' in one && (await client.add(one.key, one.value, 60)));
        break;
      default:
        if ('value' in one) await client.set(one.key, one.value, 60);
    }
  }
  return answers;
}

it('[I17] the model of memcached answers as memcached does', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(call, { maxLength: 20 }), async (calls) => {
      await real.delete('a');
      await real.delete('b');
      const model = new MemcachedModel();
      const expected = await play(clientOf(model), () => model.flush(), calls);
      const flush = async (): Promise<void> => {
        await real.delete('a');
        await real.delete('b');
      };
      expect(await play(real, flush, calls)).toEqual(expected);
    }),
    { numRuns: 150 },
  );
});
