import { L1_POLICIES } from '@tidemark/proto';
import { equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { afterEach, expect, it, vi } from 'vitest';
import { Budget } from '../adapters/l1/budget.ts';
import { sizeOf } from '../adapters/l1/size.ts';
import { testCore } from '../testing/core.ts';
import { anEntry } from '../testing/entries.ts';
import { HandL2 } from '../testing/hand-l2.ts';
import { Namespace } from './namespace.ts';

// What all namespaces hold, through reads, fills, changes of rows and of the configuration: to the byte what is there.

afterEach(() => void vi.restoreAllMocks());

const NAMES = ['user', 'list', 'plain'] as const;
const name = fc.constantFrom(...NAMES);
const key = fc.constantFrom('1', '2', '3', '4', '5');
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('fill' as const, 'read' as const), name, key }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('answer' as const), size: fc.nat({ max: 5_000 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('change' as const), key }) },
  fc.record({ do: fc.constant('purge' as const), all: fc.boolean() }),
  fc.record({
    do: fc.constant('take' as const),
    without: fc.option(name),
    maxBytes: fc.integer({ min: 5_000, max: 30_000 }),
    policy: fc.constantFrom(...L1_POLICIES),
    grace: fc.boolean(),
  }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
);

function accounts() {
  return fc.asyncProperty(
    fc.integer({ min: 3_000, max: 12_000 }),
    fc.array(step, { maxLength: 80 }),
    async (maxBytes, steps) => {
      const room = new Budget({ maxBytes });
      const l2 = new HandL2();
      const core = testCore({ room, l2, user: { onInvalidate: 'stale' } });
      const { config, stream, namespaces, configuration, clock, get, put } = core;
      stream.say();
      for (const each of steps) {
        if (each.do === 'read' && namespaces.has(each.name)) get(each.name, each.key);
        else if (each.do === 'fill' && namespaces.has(each.name)) {
          const { outcome } = get(each.name, each.key, 'reload');
          const tags = each.name === 'list' ? [`user:${each.key}`] : [];
          put(each.name, each.key, outcome?.kind === 'miss' ? outcome.lease?.token : undefined, { tags });
        } else if (each.do === 'answer') {
          const times = { freshUntilMs: clock.wallMs() + 1e4, expiresAtMs: clock.wallMs() + 1e4 };
          l2.plainReads.shift()?.(anEntry({ ...times, body: new Uint8Array(each.size) }));
          await l2.reads.shift()?.answer('away');
        } else if (each.do === 'change') stream.say({ users: [each.key] });
        else if (each.do === 'purge') {
          const purged = { keys: [], tags: [], ...(each.all ? { all: true } : { all: false, prefixes: ['1'] }) };
          stream.say({ purges: [{ namespace: 'user', ...purged }] });
        } else if (each.do === 'take') {
          const grace = { for: 10_000, serve: 'always' } as const;
          const changed = (is: string) => ({
            ...config.namespaces[is]!,
            l1: { maxBytes: each.maxBytes, policy: each.policy },
            grace: is !== 'plain' && each.grace ? grace : undefined,
          });
          const kept = NAMES.filter((is) => is !== each.without);
          configuration.take({ ...config, namespaces: Object.fromEntries(kept.map((is) => [is, changed(is)])) });
          stream.say();
        } else if (each.do === 'wait') {
          clock.advance(each.ms);
          stream.say();
          for (const { grace } of namespaces.values()) grace?.sweep();
        }
        const held = [...namespaces.values()];
        for (const { l1 } of held) {
          const bytes = [...l1.recent(100)].reduce((sum, [is, entry]) => sum + sizeOf(is, entry), 0);
          equal(l1.bytes, bytes);
          ok(l1.bytes <= l1.maxBytes);
        }
        const tenants = held.flatMap(({ l1, grace }) => [l1, ...(grace === undefined ? [] : [grace])]);
        equal(
          room.bytes,
          tenants.reduce((sum, { bytes }) => sum + bytes, 0),
        );
        equal(
          room.entries,
          tenants.reduce((sum, { entries }) => sum + entries, 0),
        );
        ok(room.bytes <= maxBytes);
      }
    },
  );
}

it('is what is counted, within the total, whatever is stored, changed, lowered and taken away', async () => {
  await fc.assert(accounts(), { numRuns: 60 });
});

it.each([
  ['a namespace that is taken away keeps what it had', Namespace.prototype, 'retire'],
  ['nobody looks at the total', Budget.prototype, 'settle'],
] as const)('an account like that notices that %s', async (_, of, method) => {
  vi.spyOn(of as unknown as Record<string, () => void>, method).mockReturnValue(undefined);
  const { failed } = await fc.check(accounts(), { numRuns: 200, seed: 1, endOnFailure: true });
  expect(failed).toBe(true);
});
