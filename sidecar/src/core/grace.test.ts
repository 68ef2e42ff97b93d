import type { Entry } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../testing/fakes.ts';
import { USUAL, type Accepts } from './freshness.ts';
import { Grace } from './grace.ts';

const FOREVER = Number.POSITIVE_INFINITY;

function grace(serve: 'on-request' | 'on-error' | 'always' = 'on-request', l1Bytes = 1024 ** 2) {
  const clock = new ManualClock();
  const kept = new Grace({ config: { for: 60_000, serve }, l1Bytes, clock });
  const entry = (bytes = 1, keepMs = 1e9): Entry => ({
    ...{ asOf: 1, epoch: 1, storedAtMs: 0, freshUntilMs: 1, expiresAtMs: 1, loadMs: 0 },
    ...{ absent: false, contentType: '', etag: '', tags: [], body: new Uint8Array(bytes) },
    keepUntilMs: clock.wallMs() + keepMs,
  });
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
  });
});

it('keeps a quarter of the memory at most, and the latest', () => {
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
});
