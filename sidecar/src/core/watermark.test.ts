import { expect, it } from 'vitest';
import { testCore } from '../testing/core.ts';

it('settles at once for what was applied, and when the record comes for what was not', async () => {
  const { watermark, stream, replica, clock } = testCore();
  stream.say();
  await expect(watermark.reaches(replica.applied, 100)).resolves.toBe(true);
  const next = watermark.reaches(replica.applied + 1, 100);
  expect(watermark.waiting).toBe(1);
  stream.say();
  await expect(next).resolves.toBe(true);
  expect([watermark.waiting, clock.timers]).toEqual([0, 0]);
});

it('gives up in time', async () => {
  const { watermark, stream, replica, clock } = testCore();
  stream.say();
  const never = watermark.reaches(replica.applied + 1000, 100);
  clock.advance(100);
  await expect(never).resolves.toBe(false);
  expect(watermark.waiting).toBe(0);
});

it('does not take a position from before a break for one that was applied since', async () => {
  const { watermark, stream, replica } = testCore();
  stream.say();
  const before = replica.applied;
  replica.lost();
  const waiting = watermark.reaches(before, 100);
  expect(watermark.waiting).toBe(1);
  stream.say();
  await expect(waiting).resolves.toBe(true);
});

it('lets only so many wait', async () => {
  const { watermark, stream } = testCore();
  stream.say();
  for (let i = 0; i < 10; i++) void watermark.reaches(1e6, 100);
  await expect(watermark.reaches(1e6, 100)).resolves.toBe(false);
});
