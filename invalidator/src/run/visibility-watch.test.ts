import { afterEach, describe, expect, it, vi, type Mock } from 'vitest';
import type { Clock } from '../core/ports.ts';
import { VisibleClock } from '../core/visibility.ts';
import { VisibilityWatch, type Ask } from './visibility-watch.ts';

const watches: VisibilityWatch[] = [];

afterEach(() => {
  for (const watch of watches.splice(0)) watch.stop();
});

/** Time passes only when a timer runs, by what that was set to: what the machine takes besides does not count. */
function timersOnly(): Clock {
  let nowMs = 0;
  return {
    monotonicMs: () => nowMs,
    wallMs: () => nowMs,
    after(delayMs, run) {
      const dueMs = nowMs + delayMs;
      const timer = setTimeout(() => {
        nowMs = Math.max(nowMs, dueMs);
        run();
      }, delayMs);
      return () => clearTimeout(timer);
    },
  };
}

function watchOver(ask: Ask): {
  clock: VisibleClock;
  watch: VisibilityWatch;
  onSeen: Mock<() => void>;
  time: Clock;
} {
  const time = timersOnly();
  const clock = new VisibleClock(0);
  const onSeen = vi.fn<() => void>();
  const watch = new VisibilityWatch({ visible: clock, clock: time, ask, onSeen });
  watches.push(watch);
  clock.announce({ xid: 7, start: 10, commit: 18 });
  return { clock, watch, onSeen, time };
}

describe('looking before a record goes out', () => {
  it('asks once when everything is seen', async () => {
    const ask = vi.fn<Ask>(async () => new Set());
    const { watch, onSeen } = watchOver(ask);
    expect(await watch.look(20)).toBe(20);
    expect(await watch.look(25)).toBe(25);
    expect(ask).toHaveBeenCalledExactlyOnceWith([7]);
    expect(onSeen).not.toHaveBeenCalled();
  });

  it('asks again within its few milliseconds', async () => {
    let asked = 0;
    const { watch } = watchOver(async () => (++asked < 2 ? new Set([7]) : new Set()));
    expect(await watch.look(20)).toBe(20);
    expect(asked).toBe(2);
  });

  it.each<[string, Ask]>([
    ['nobody answers', () => new Promise(() => undefined)],
    ['it cannot be asked', () => Promise.reject(new Error('no connection'))],
    ['the commit stays invisible', async () => new Set([7])],
  ])('[I3] never keeps an eviction waiting when %s', async (_why, ask) => {
    const { watch, time } = watchOver(ask);
    expect(await watch.look(20)).toBe(17);
    expect(time.monotonicMs()).toBeLessThan(10);
  });
});

describe('looking again afterwards', () => {
  it('tells when the commit is seen at last, also after questions that failed', async () => {
    let state: 'failing' | 'unseen' | 'seen' = 'failing';
    const { clock, watch, onSeen } = watchOver(async (xids) => {
      if (state === 'failing') throw new Error('no connection');
      return new Set(state === 'unseen' ? xids : []);
    });
    expect(await watch.look(20)).toBe(17);
    state = 'unseen';
    await vi.waitFor(() => expect(onSeen.mock.calls.length).toBeGreaterThan(1), 60_000);
    expect(clock.visible(20)).toBe(17);
    state = 'seen';
    await vi.waitFor(() => expect(clock.visible(20)).toBe(20), 60_000);
    const { length } = onSeen.mock.calls;
    expect(length).toBeGreaterThan(0);
    expect(clock.count).toBe(0);
  });
});
