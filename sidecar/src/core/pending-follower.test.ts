import { expect, it } from 'vitest';
import { ManualClock } from '../testing/fakes.ts';
import { PendingFollower, type WriteListener } from './pending-follower.ts';
import { PendingWrites } from './pending-writes.ts';

function start() {
  const clock = new ManualClock();
  const replica = { epoch: 1, applied: 10, visible: 10 };
  const writes = new PendingWrites({ topic: 't', replica, maxStalenessMs: 5_000, etagOf: () => '' });
  let reading: { readonly offset: number; readonly listener: WriteListener } | undefined;
  const follower = new PendingFollower({
    topic: 't',
    writes,
    client: { flushed: () => Promise.resolve({ offset: 7, epoch: 1, lsn: 10 }) },
    feed: {
      readFrom: (offset, listener) => (reading = { offset, listener }),
      stop: async () => void (reading = undefined),
    },
    replica,
    clock,
    events: { unknown: () => undefined, known: () => undefined },
  });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return { clock, writes, follower, settled, reading: () => reading };
}

it('[I19] reads the topic while a namespace needs it, and no longer', async () => {
  const { writes, follower, settled, reading } = start();
  follower.restart();
  await settled();
  expect(reading()).toBeUndefined();
  const pending = writes.serve('items', 64 * 1024);
  follower.restart();
  await settled();
  expect(reading()?.offset).toBe(7);
  reading()?.listener.delivered({ records: [], nextOffset: 7, caughtUp: true, requestedAtMs: 0 });
  expect(pending.bypass(0)).toBeUndefined();
  writes.retire('items');
  follower.restart();
  await settled();
  expect(reading()).toBeUndefined();
  const again = writes.serve('items', 64 * 1024);
  follower.restart();
  await settled();
  expect(reading()?.offset).toBe(7);
  expect(again.bypass(0)).toBe('starting');
});
