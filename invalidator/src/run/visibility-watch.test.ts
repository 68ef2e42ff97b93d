import { afterEach, describe, expect, it, vi, type Mock } from 'vitest';
import { systemClock } from '../adapters/system.ts';
import type { Clock } from '../core/ports.ts';
import { VisibleClock } from '../core/visibility.ts';
import { VisibilityWatch, type Ask } from './visibility-watch.ts';

const watches: VisibilityWatch[] = [];

afterEach(() => {
  for (const watch of watches.splice(0)) watch.stop();
});

function watchOver(
  ask: Ask,
  time: Clock = systemClock,
): { clock: VisibleClock; watch: VisibilityWatch; onSeen: Mock<() => void> } {
  const clock = new VisibleClock(0);
  const onSeen = vi.fn<() => void>();
  const watch = new VisibilityWatch({ visible: clock, clock: time, ask, onSeen });
  watches.push(watch);
  clock.announce({ xid: 7, start: 10, commit: 18 });
  return { clock, watch, onSeen };
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
    // Whose milliseconds are longer, however busy the machine is.
    const slow: Clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() / 1000 };
    const { watch } = watchOver(async () => (++asked < 2 ? new Set([7]) : new Set()), slow);
    expect(await watch.look(20)).toBe(20);
    expect(asked).toBe(2);
  });

  it.each<[string, Ask]>([
    ['nobody answers', () => new Promise(() => undefined)],
    ['it cannot be asked', () => Promise.reject(new Error('no connection'))],
    ['the commit stays invisible', async () => new Set([7])],
  ])('[I3] never keeps an eviction waiting when %s', async (_why, ask) => {
    const { watch } = watchOver(ask);
    const startMs = performance.now();
    expect(await watch.look(20)).toBe(17);
    // A few milliseconds; the rest is what a busy machine may add.
    expect(performance.now() - startMs).toBeLessThan(500);
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
    await vi.waitFor(() => expect(onSeen.mock.calls.length).toBeGreaterThan(1));
    expect(clock.visible(20)).toBe(17);
    state = 'seen';
    await vi.waitFor(() => expect(clock.visible(20)).toBe(20));
    const { length } = onSeen.mock.calls;
    expect(length).toBeGreaterThan(0);
    expect(clock.count).toBe(0);
  });
});
