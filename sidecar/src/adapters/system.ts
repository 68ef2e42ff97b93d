import { randomBytes } from 'node:crypto';
import type { Clock, Random } from '../core/ports.ts';

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};

/** A counter makes tokens of one process differ, random bits make those of others unguessable and different. */
export function systemRandom(): Random {
  let pool = Buffer.alloc(0);
  let count = 0;
  return {
    token() {
      if (pool.length === 0) pool = randomBytes(12 * 128);
      const bits = pool.subarray(0, 12).toString('base64url');
      pool = pool.subarray(12);
      count += 1;
      return `${count.toString(36)}-${bits}`;
    },
    fraction: () => Math.random(),
  };
}
