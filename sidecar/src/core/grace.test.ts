import type { Entry } from '@tidemark/proto';
import { equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Budget } from '../adapters/l1/budget.ts';
import { createPolicy } from '../adapters/l1/policies.ts';
import { sizeOf } from '../adapters/l1/size.ts';
import { MemoryStore } from '../adapters/l1/store.ts';
import { testCore, tokenOf } from '../testing/core.ts';
import { anEntry } from '../testing/entries.ts';
import { ManualClock } from '../testing/fakes.ts';
import { USUAL, type Accepts } from './freshness.ts';
import { Grace } from './grace.ts';

const FOREVER = Number.POSITIVE_INFINITY;
type Serve = 'on-request' | 'on-error' | 'always';

function grace(serve: Serve = 'on-request', l1Bytes = 1024 ** 2) {
  const clock = new ManualClock();
  const kept = new Grace({ config: { for: 60_000, serve }, l1Bytes, clock, sizeOf });
  /** Fresh for so long from now on, and stored now. */
  const entry = (bytes = 1, freshMs = 1e9, more: Partial<Entry> = {}): Entry => {
    const untilMs = clock.wallMs() + freshMs;
    const times = { storedAtMs: clock.wallMs(), freshUntilMs: untilMs, expiresAtMs: untilMs, keepUntilMs: untilMs };
    return anEntry({ ...times, body: new Uint8Array(bytes), ...more });
  };
  const find = (accepts: Partial<Accepts> = {}, failed = false): boolean =>
    kept.find('k', { accepts: { ...USUAL, ...accepts }, failed }) !== undefined;
  return { clock, kept, entry, find };
}

describe('a value in grace', () => {
  it('is shown to those only who say how stale it may be', () => {
    const { clock, kept, entry, find } = grace();
    kept.keep('k', entry());
    expect([find(), find({}, true), find({ maxStaleMs: FOREVER })]).toEqual([false, false, true]);
    clock.advance(10_000);
    expect([find({ maxStaleMs: 10_000 }), find({ maxStaleMs: 9_999 })]).toEqual([true, false]);
    clock.advance(50_001);
    expect(find({ maxStaleMs: FOREVER })).toBe(false);
  });

  it('stands in for what cannot be loaded, where namespace or caller say so', () => {
    const { clock, kept, entry, find } = grace('on-error');
    kept.keep('k', entry());
    expect([find(), find({}, true), find({ staleIfErrorMs: 0 }, true)]).toEqual([false, true, true]);
    clock.advance(1);
    expect(find({ staleIfErrorMs: 0 }, true)).toBe(false);
    const asked = grace('on-request');
    asked.kept.keep('k', asked.entry());
    expect([asked.find({ staleIfErrorMs: 1000 }), asked.find({ staleIfErrorMs: 1000 }, true)]).toEqual([false, true]);
  });

  it('is shown to everybody where the namespace says so, but never where the answer must be coherent', () => {
    const { kept, entry, find } = grace('always');
    kept.keep('k', entry());
    expect([find(), find({ grace: false }), find({ grace: false, maxStaleMs: FOREVER }, true)]).toEqual([
      ...[true, false],
      false,
    ]);
  });

  it('goes when another takes its place, and is not kept longer than it would have been', () => {
    const { clock, kept, entry, find } = grace('always');
    kept.keep('k', entry(1, 5_000));
    clock.advance(5_000);
    expect(find()).toBe(false);
    kept.keep('k', entry());
    kept.delete('k');
    expect([find(), kept.entries, kept.bytes]).toEqual([false, 0, 0]);
    kept.keep('k', entry(1, 0));
    expect(kept.entries).toBe(0);
  });

  it('is not shown for longer because the wall clock was set back', () => {
    const { clock, kept, entry, find } = grace('always');
    let backMs = 0;
    const wallMs = clock.wallMs.bind(clock);
    clock.wallMs = () => wallMs() - backMs;
    kept.keep('k', entry());
    backMs = 3_600_000;
    clock.advance(60_000);
    expect(find()).toBe(true);
    clock.advance(1);
    expect(find()).toBe(false);
  });

  it('is not taken to be younger, fresher or nearer to its TTL than it was', () => {
    const { clock, kept, entry, find } = grace('always');
    const old = entry(1, 10_000, { keepUntilMs: clock.wallMs() + 1e9 });
    clock.advance(5_000);
    kept.keep('k', old);
    expect([find(), find({ maxAgeMs: 4_999 }), find({ maxAgeMs: 5_000 }), find({ minFreshMs: 1 })]).toEqual([
      ...[true, false],
      ...[true, false],
    ]);
    // Past its hard TTL nobody gets it of L1 who has not asked for that.
    clock.advance(7_000);
    expect([find(), find({ maxStaleMs: 1_999 }), find({ maxStaleMs: 2_000 })]).toEqual([false, false, true]);
    expect([find({}, true), find({ staleIfErrorMs: 1_999 }, true)]).toEqual([true, false]);
  });

  it('that is too old to be shown goes without anything else coming', () => {
    const { clock, kept, entry } = grace();
    kept.keep('a', entry());
    clock.advance(30_000);
    kept.keep('b', entry());
    clock.advance(30_001);
    kept.sweep();
    expect([kept.entries, kept.bytes]).toEqual([1, sizeOf('b', entry())]);
  });
});

it('keeps a quarter of the memory at most, and the latest; tags count too', () => {
  const { kept, entry } = grace('always', 64 * 1024);
  for (let i = 0; i < 100; i += 1) kept.keep(`k${i}`, entry(1_000));
  expect(kept.bytes).toBeLessThanOrEqual(16 * 1024);
  const accepts = USUAL;
  expect([
    kept.find('k0', { accepts, failed: false }),
    kept.find('k99', { accepts, failed: false })?.body.length,
  ]).toEqual([undefined, 1_000]);
  kept.keep('large', entry(20_000));
  expect(kept.find('large', { accepts, failed: false })).toBeUndefined();
  kept.keep('tagged', entry(1, 1e9, { tags: Array.from({ length: 64 }, (_, i) => `${i}`.padEnd(400)) }));
  expect(kept.find('tagged', { accepts, failed: false })).toBeUndefined();
});

it('is within the total of all namespaces together with L1, to the byte, and starves nobody', () => {
  const step = fc.record({
    at: fc.nat({ max: 2 }),
    do: fc.constantFrom('fill', 'fill', 'fill', 'invalidate', 'invalidate', 'delete', 'clear', 'wait'),
    key: fc.constantFrom(...'abcdefgh'.split('')),
    size: fc.nat({ max: 3_000 }),
  });
  fc.assert(
    fc.property(fc.integer({ min: 4_000, max: 40_000 }), fc.array(step, { maxLength: 150 }), (maxBytes, steps) => {
      const room = new Budget({ maxBytes });
      const clock = new ManualClock();
      const all = [1, 2, 4].map((weight) => {
        const l1Bytes = weight * 8_000;
        const l1 = new MemoryStore({ maxBytes: l1Bytes, budget: room, policy: createPolicy('lru', () => 0) });
        return { l1, kept: new Grace({ config: { for: 60_000, serve: 'always' }, l1Bytes, clock, sizeOf, room }) };
      });
      const tenants = all.flatMap(({ l1, kept }) => [l1, kept]);
      const weights = tenants.reduce((sum, tenant) => sum + tenant.maxBytes, 0);
      for (const { at, do: what, key, size } of steps) {
        const { l1, kept } = all[at]!;
        const before = tenants.map(({ bytes }) => bytes);
        const untilMs = clock.wallMs() + 1e6;
        if (what === 'fill') {
          kept.delete(key);
          l1.set(key, anEntry({ body: new Uint8Array(size), keepUntilMs: untilMs }));
        } else if (what === 'invalidate') {
          const entry = l1.get(key);
          l1.delete(key);
          if (entry !== undefined) kept.keep(key, entry);
        } else if (what === 'delete') kept.delete(key);
        else if (what === 'clear') (size % 2 === 0 ? l1 : kept).clear();
        else clock.advance(20_000);
        equal(
          room.bytes,
          tenants.reduce((sum, { bytes }) => sum + bytes, 0),
        );
        equal(
          room.entries,
          tenants.reduce((sum, { entries }) => sum + entries, 0),
        );
        ok(room.bytes <= maxBytes);
        tenants.forEach((tenant, i) => {
          const isWithin = before[i]! <= (maxBytes * tenant.maxBytes) / weights;
          if (isWithin && tenant !== l1 && tenant !== kept) equal(tenant.bytes, before[i]);
        });
      }
      for (const { l1, kept } of all) {
        l1.clear();
        kept.clear();
      }
      expect([room.bytes, room.entries]).toEqual([0, 0]);
    }),
    { numRuns: 200 },
  );
});

it('what a change takes from L1 is not counted twice on its way', () => {
  const core = testCore({ user: { onInvalidate: 'stale' } });
  const { l1, grace: kept } = core.of('user');
  core.stream.say();
  core.put('user', '1', tokenOf(core.get('user', '1')));
  let most = 0;
  const keep = kept!.keep.bind(kept);
  kept!.keep = (key, entry) => {
    most = Math.max(most, l1.entries);
    keep(key, entry);
  };
  core.stream.say({ users: ['1'] });
  expect([most, l1.entries, kept!.entries]).toEqual([0, 0, 1]);
});
