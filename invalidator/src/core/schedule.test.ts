import { expect, it } from 'vitest';
import { publishDelayMs, type Due } from './schedule.ts';

const pace = { lingerMs: 2, moveMs: 50 };
const nothing: Due = { dirty: false, news: false, moved: false, idleMs: 1000 };

it.each<[string, Partial<Due>, number | undefined]>([
  ['nothing to say', {}, undefined],
  ['a change after a pause goes at once', { dirty: true }, 0],
  ['a change under load gathers others', { dirty: true, idleMs: 0.5 }, 1.5],
  ['news goes like a change', { news: true, idleMs: 2 }, 0],
  ['a mere position may wait', { moved: true, idleMs: 10 }, 40],
  ['a mere position goes when it is time', { moved: true, idleMs: 60 }, 0],
  ['a change takes the position along', { moved: true, dirty: true, idleMs: 10 }, 0],
])('%s', (_name, due, expected) => {
  expect(publishDelayMs({ ...nothing, ...due }, pace)).toBe(expected);
});
