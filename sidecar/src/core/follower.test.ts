import { encodeBatch } from '@tidemark/proto';
import { expect, it } from 'vitest';
import { MAX_STALENESS_MS, testCore, tokenOf } from '../testing/core.ts';
import { Follower } from './follower.ts';

it('lets the lag grow while nothing is heard, and only then', () => {
  const { replica, coalescer, watermark, clock } = testCore();
  const events = { state: () => undefined, irregular: () => undefined, applied: () => undefined };
  const follower = new Follower({ replica, coalescer, watermark, clock, events });
  follower.heard(clock.monotonicMs());
  clock.advance(2_500);
  expect(follower.lagMs).toBe(0);
  clock.advance(1);
  expect(follower.lagMs).toBe(2_501);
  follower.heard(clock.monotonicMs());
  expect(follower.lagMs).toBe(0);
});

function record(epoch: number, to: number): Uint8Array {
  return encodeBatch({
    ...{
      source: 'main',
      epoch,
      from: to,
      to,
      visible: to,
      committedAtUs: 0,
      publishedAtUs: 0,
      systemId: 1n,
      timeline: 1,
    },
    ...{
      heartbeat: true,
      covers: testCore().rules.namespaces.map(({ hash }) => hash),
      commits: [],
      tables: [],
      purges: [],
    },
  });
}

it('[I9] does not take a record that is repeated for a sign of life', () => {
  const { replica, coalescer, watermark, clock } = testCore();
  const events = { state: () => undefined, irregular: () => undefined, applied: () => undefined };
  const follower = new Follower({ replica, coalescer, watermark, clock, events });
  for (const to of [1000, 1000, 900]) {
    clock.advance(MAX_STALENESS_MS - 1);
    follower.record(record(5, to));
    follower.heard(clock.monotonicMs());
    expect(replica.state(clock.monotonicMs())).toBe('live');
  }
  clock.advance(2);
  expect(replica.state(clock.monotonicMs())).toBe('stalled');
});

it('[I9] [I10] stalls when only an older epoch is heard, and then begins anew with that', () => {
  const { replica, coalescer, watermark, clock, get, put } = testCore();
  const events = { state: () => undefined, irregular: () => undefined, applied: () => undefined };
  const follower = new Follower({ replica, coalescer, watermark, clock, events });
  const hear = (epoch: number, to: number): void => {
    follower.record(record(epoch, to));
    follower.heard(clock.monotonicMs());
  };
  hear(5, 1000);
  const token = tokenOf(get('user', '1'));
  clock.advance(MAX_STALENESS_MS);
  hear(4, 2000);
  expect([replica.epoch, replica.state(clock.monotonicMs())]).toEqual([5, 'live']);
  clock.advance(1);
  expect(replica.state(clock.monotonicMs())).toBe('stalled');
  hear(4, 2000);
  expect([replica.epoch, replica.applied, replica.state(clock.monotonicMs())]).toEqual([4, 2000, 'live']);
  // The epoch of before comes back, further back than it was.
  hear(5, 900);
  expect(put('user', '1', token)).toEqual({ kind: 'refused', why: 'expired' });
});
