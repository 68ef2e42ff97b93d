import { expect, it } from 'vitest';
import { MAX_STUBBORN, RestartPolicy } from './restart.ts';

it('never gives a slot up because something is away', () => {
  const policy = new RestartPolicy();
  for (let i = 0; i < 100; i++) policy.failed('passing', 'connection refused');
  expect(policy.unusable).toBeUndefined();
});

it('gives a slot up that fails at the same place for ever, but not one that gets on in between', () => {
  const policy = new RestartPolicy();
  for (let i = 1; i < MAX_STUBBORN; i++) policy.failed('stubborn', 'cannot decode');
  policy.progressed();
  for (let i = 1; i < MAX_STUBBORN; i++) policy.failed('stubborn', 'cannot decode');
  expect(policy.unusable).toBeUndefined();
  policy.failed('passing', 'connection refused');
  policy.failed('stubborn', 'cannot decode');
  expect(policy.unusable).toContain('cannot decode');
});

it('gives the chain up at once when records may have left something out, and remembers it until there is a new slot', () => {
  const policy = new RestartPolicy();
  policy.failed('chain-broken', 'out of order');
  policy.failed('passing', 'connection refused');
  policy.progressed();
  expect(policy.unusable).toBe('out of order');
  policy.slotMade();
  expect(policy.unusable).toBeUndefined();
});
