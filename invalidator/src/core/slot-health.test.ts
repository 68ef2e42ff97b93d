import { expect, it } from 'vitest';
import { HELD_BACK_MS, slotComplaint, WAL_STATUSES, type SlotHealth } from './slot-health.ts';

const health: SlotHealth = {
  walStatus: 'reserved',
  safeWalBytes: undefined,
  lagBytes: 0,
  retainedBytes: 0,
  heldBack: false,
  failover: true,
};

it('has nothing to say of a slot that fares well, or of a status that it does not know', () => {
  expect(slotComplaint(health, 0)).toBeUndefined();
  expect(slotComplaint({ ...health, walStatus: 'unknown' }, 0)).toBeUndefined();
});

it('says something else of every status that leads to a loss', () => {
  const complaints = WAL_STATUSES.map((walStatus) => slotComplaint({ ...health, walStatus }, 0));
  expect(new Set(complaints.filter((text) => text !== undefined)).size).toBe(3);
});

it('says that a standby holds the stream back, but not of the moments that every commit takes', () => {
  expect(slotComplaint({ ...health, heldBack: true }, HELD_BACK_MS - 1)).toBeUndefined();
  expect(slotComplaint({ ...health, heldBack: true }, HELD_BACK_MS)).toContain('synchronized_standby_slots');
});
