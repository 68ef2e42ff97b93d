import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DeadlineError, Deadlines, withDeadline } from './deadline.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const never = new Promise<never>(() => undefined);

/** What became of a promise, looked at without waiting. */
function watched(promise: Promise<unknown>): { state: string } {
  const seen = { state: 'pending' };
  promise.then(
    (value) => (seen.state = `resolved ${String(value)}`),
    (error: unknown) => (seen.state = error instanceof DeadlineError ? 'late' : `rejected ${String(error)}`),
  );
  return seen;
}

describe('Deadlines', () => {
  it('lets pass what is settled in time, either way', async () => {
    const deadlines = new Deadlines('x', 50);
    await expect(deadlines.race(Promise.resolve(1))).resolves.toBe(1);
    await expect(deadlines.race(Promise.reject(new Error('no')))).rejects.toThrow('no');
  });

  it('rejects each promise at its own deadline, and says what and how long', async () => {
    const deadlines = new Deadlines('Redis', 50);
    const first = watched(deadlines.race(never));
    await vi.advanceTimersByTimeAsync(30);
    const second = deadlines.race(never);
    const secondSeen = watched(second);
    await vi.advanceTimersByTimeAsync(21);
    expect([first.state, secondSeen.state]).toEqual(['late', 'pending']);
    await vi.advanceTimersByTimeAsync(30);
    expect(secondSeen.state).toBe('late');
    await expect(second).rejects.toThrow('Redis: no answer within 50 ms');
  });

  it('needs one timer for any number of promises, and none once all are settled and due', async () => {
    const deadlines = new Deadlines('x', 50);
    const seen = Array.from({ length: 1000 }, (_, i) =>
      watched(deadlines.race(i % 2 === 0 ? never : Promise.resolve(i))),
    );
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(60);
    expect(seen.filter(({ state }) => state === 'late')).toHaveLength(500);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('does not mind what settles too late', async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    const seen = watched(new Deadlines('x', 50).race(promise));
    await vi.advanceTimersByTimeAsync(60);
    reject(new Error('late'));
    await vi.advanceTimersByTimeAsync(0);
    expect(seen.state).toBe('late');
  });
});

it('withDeadline leaves no timer behind', async () => {
  await expect(withDeadline(Promise.resolve(1), { what: 'x', deadlineMs: 50 })).resolves.toBe(1);
  await expect(withDeadline(Promise.reject(new Error('no')), { what: 'x', deadlineMs: 50 })).rejects.toThrow('no');
  expect(vi.getTimerCount()).toBe(0);
  const late = watched(withDeadline(never, { what: 'x', deadlineMs: 50 }));
  await vi.advanceTimersByTimeAsync(50);
  expect(late.state).toBe('late');
});
