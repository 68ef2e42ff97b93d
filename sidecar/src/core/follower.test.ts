import { expect, it } from 'vitest';
import { testCore } from '../testing/core.ts';
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
