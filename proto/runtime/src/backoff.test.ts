import { expect, it } from 'vitest';
import { Backoff } from './backoff.ts';

it('pauses grow from half of the first to the bound, and are short again after a success', () => {
  const backoff = new Backoff({ firstMs: 100, maxMs: 1000 });
  for (const ceiling of [100, 200, 400, 800, 1000, 1000, 1000]) {
    const pauseMs = backoff.nextMs();
    expect(pauseMs).toBeGreaterThanOrEqual(ceiling / 2);
    expect(pauseMs).toBeLessThanOrEqual(ceiling);
  }
  backoff.reset();
  expect(backoff.nextMs()).toBeLessThanOrEqual(100);
});

it('a pause ends at once, without an error, when it is no longer wanted', async () => {
  const wanted = new AbortController();
  const pause = new Backoff({ firstMs: 1_000_000, maxMs: 1_000_000 }).pause(wanted.signal);
  wanted.abort();
  await expect(pause).resolves.toBeUndefined();
  await expect(new Backoff({ firstMs: 1_000_000, maxMs: 1_000_000 }).pause(wanted.signal)).resolves.toBeUndefined();
});
