import { expect, it } from 'vitest';
import { L2Lag } from './l2-lag.ts';

it('is the time since we were where the log is now', () => {
  const lag = new L2Lag(10);
  expect(lag.lagMs).toBeNull();
  lag.sample({ applied: 100, to: 100, atMs: 0 });
  expect(lag.lagMs).toBe(0);
  lag.sample({ applied: 200, to: 100, atMs: 1000 });
  lag.sample({ applied: 300, to: 100, atMs: 2000 });
  expect(lag.lagMs).toBe(1000);
  lag.sample({ applied: 300, to: 250, atMs: 3000 });
  expect(lag.lagMs).toBe(1000);
  lag.sample({ applied: 300, to: 400, atMs: 4000 });
  expect(lag.lagMs).toBe(0);
  lag.sample({ applied: 300, to: undefined, atMs: 5000 });
  expect(lag.lagMs).toBeNull();
});

it('remembers only so much, and then tells at least that much', () => {
  const lag = new L2Lag(3);
  for (let i = 1; i <= 10; i++) lag.sample({ applied: 100 * i, to: 50, atMs: 1000 * i });
  expect(lag.lagMs).toBe(2000);
});
