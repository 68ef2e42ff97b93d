import { expect, it } from 'vitest';
import { pino } from 'pino';
import { shutdown } from './shutdown.ts';

const logger = pino({ level: 'silent' });

it('runs every step in order, also after one that failed, and says that it was not clean', async () => {
  const done: string[] = [];
  const steps = [
    { name: 'a', run: () => void done.push('a') },
    { name: 'b', run: () => Promise.reject(new Error('no')) },
    { name: 'c', run: async () => void done.push('c') },
  ];
  expect(await shutdown({ steps, deadlineMs: 1000, logger })).toBe(false);
  expect(done).toEqual(['a', 'c']);
  expect(await shutdown({ steps: steps.slice(0, 1), deadlineMs: 1000, logger })).toBe(true);
});

it('gives up at the deadline', async () => {
  const done: string[] = [];
  const steps = [
    { name: 'stuck', run: () => new Promise<void>(() => undefined) },
    { name: 'after', run: () => void done.push('after') },
  ];
  expect(await shutdown({ steps, deadlineMs: 20, logger })).toBe(false);
  expect(done).toEqual([]);
});
