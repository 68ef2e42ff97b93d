import { expect, it } from 'vitest';
import { isStreamDead, SILENCE_MS, type WalSender } from './liveness.ts';

it.each<[string, number, WalSender | undefined, boolean]>([
  ['silent for a moment', SILENCE_MS - 1, undefined, false],
  ['silent, and the server knows of no walsender of ours', SILENCE_MS, undefined, true],
  ['silent while it decodes', SILENCE_MS, { waitEvent: null }, false],
  ['silent while it reads what it had spilled', SILENCE_MS, { waitEvent: 'ReorderBufferRead' }, false],
  ['silent while it waits for new WAL', SILENCE_MS, { waitEvent: 'WalSenderWaitForWal' }, true],
  ['silent while it waits to write to us', SILENCE_MS, { waitEvent: 'WalSenderWriteData' }, true],
])('%s', (_name, silentMs, sender, expected) => {
  expect(isStreamDead(silentMs, sender)).toBe(expected);
});
