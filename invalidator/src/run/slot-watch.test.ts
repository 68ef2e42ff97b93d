import { expect, it } from 'vitest';
import type { Logger } from '@tidemark/runtime';
import { HELD_BACK_MS, type SlotHealth } from '../core/slot-health.ts';
import { SlotWatch } from './slot-watch.ts';

const well: SlotHealth = {
  walStatus: 'reserved',
  safeWalBytes: 100,
  lagBytes: 1,
  retainedBytes: 2,
  heldBack: false,
  failover: true,
};

/** Looks at these states, one a second; answers the words of the log with their levels. */
async function told(states: readonly (SlotHealth | undefined)[]): Promise<string[]> {
  const words: string[] = [];
  const log = (level: string) => (_slot: unknown, text: string) => void words.push(`${level} ${text}`);
  const logger = { info: log('info'), warn: log('warn') } as unknown as Logger;
  const left = [...states];
  const watch = new SlotWatch({ look: async () => left.shift(), onHealth: () => undefined, logger });
  for (let second = 0; second < states.length; second += 1) {
    await watch.check(second * 1000);
  }
  expect(left).toEqual([]);
  return words;
}

it('says nothing of a slot that fares well or is not there', async () => {
  expect(await told([well, undefined, well])).toEqual([]);
});

it('says once that the slot is in danger, and once that it is well again', async () => {
  const danger = { ...well, walStatus: 'unreserved' } as const;
  const words = await told([well, danger, danger, danger, well, well]);
  expect(words).toEqual([expect.stringMatching(/^warn .*lost at the next checkpoint/), 'info the slot is well again']);
});

it('says it again after a minute', async () => {
  expect(await told(Array.from({ length: 62 }, () => ({ ...well, walStatus: 'extended' }) as const))).toHaveLength(2);
});

it('tells of a standby that holds the stream back without a break', async () => {
  const held = { ...well, heldBack: true };
  const seconds = HELD_BACK_MS / 1000;
  const tooShort = Array.from({ length: seconds }, () => held);
  expect(await told([...tooShort, well, ...tooShort])).toEqual([]);
  expect(await told([...tooShort, held])).toHaveLength(1);
});
