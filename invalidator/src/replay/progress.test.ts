import { expect, it } from 'vitest';
import { Progress } from './progress.ts';

it('tells how much was done, how fast, where it stands and how long it may take', () => {
  const counts = { records: 1234, changes: 50_000, repeated: 0, unreadable: 0, gaps: 0, epochs: 0 };
  const state = { nextOffset: 5, position: { epoch: 3, applied: 0x10 }, isInside: true, isBroken: false, counts };
  const stream = { read: async () => undefined, progress: () => ({ done: 25, total: 100 }) };
  const running = { counts: { ...counts, records: 0, changes: 0 }, state };
  const progress = new Progress({ replay: running, stream, isQuiet: true });
  Object.assign(running, { counts });
  expect(progress.line()).toMatch(/^1,234 records, [\d,]+ changes\/s, at 3:0\/10, 25 %, 1 s left$/);
});
