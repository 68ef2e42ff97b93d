import { describe, expect, it } from 'vitest';
import { testCore, tokenOf } from '../testing/core.ts';

describe('XFetch', () => {
  it('refreshes the sooner before the end the longer loads take, and not at all with early: 0', () => {
    const soft = { soft: '10s', hard: '60s', jitter: '0%' };
    const firstRefresh = (early: number, loadMs: number): number => {
      const { get, put, clock, stream } = testCore({ user: { ttl: soft, refresh: { early } } });
      stream.say();
      const read = get('user', '1');
      clock.advance(loadMs);
      put('user', '1', tokenOf(read));
      for (let ms = 0; ms < 10_000; ms += 10) {
        const { outcome } = get('user', '1');
        if (outcome?.kind === 'value' && outcome.refresh !== undefined) return 10_000 - ms;
        clock.advance(10);
        if (ms % 1_000 === 0) stream.say();
      }
      return 0;
    };
    expect(firstRefresh(0, 1_000)).toBe(0);
    const [short, long] = [firstRefresh(1, 100), firstRefresh(1, 1_000)];
    expect(short).toBeGreaterThan(0);
    expect(short).toBeLessThanOrEqual(500);
    expect(long).toBeGreaterThan(short);
    expect(long).toBeLessThanOrEqual(5_000);
  });
});
