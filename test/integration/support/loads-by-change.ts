import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'vitest';
import type { App } from './app.ts';
import { eventually } from './eventually.ts';
import { metric } from './l2.ts';
import { Readers, type Changes, type Origin } from './stampede.ts';

/** Of each sidecar. */
const READERS = 20;
const CHANGES = 8;
/** On a machine where readers of the database always see changes late there is nothing to be counted. */
const MOST_CHANGES = 20 * CHANGES;
/** For a test of it: where changes are seen late there are many of them. */
export const PATIENCE = { timeout: 900_000 } as const;
/** Each number loaded once. */
export const ONCE: readonly number[] = Array.from({ length: CHANGES }, () => 1);

/** The sum over sidecars. */
export async function totalOf(sidecars: readonly { readonly admin: string }[], name: string): Promise<number> {
  const each = await Promise.all(sidecars.map(({ admin }) => metric(admin, name)));
  return each.reduce((sum, count) => sum + count, 0);
}

/**
 * Changes the row again and again while many read it through all sidecars; how often each number was loaded. No read may be stale. Changes
 * that readers of the database saw late are left out: callers who load are let go then (stampedes.md).
 */
export async function loadsByChange(options: {
  sidecars: readonly { readonly url: string; readonly admin: string }[];
  apps: readonly App[];
  origin: Origin;
  changes: Changes;
  namespace: string;
  /** The first change is not loaded before this has settled. */
  meanwhile?: () => Promise<unknown>;
}): Promise<number[]> {
  const { sidecars, apps, origin, changes, namespace, meanwhile } = options;
  const reading = { origin: origin.url, namespace, count: READERS, thinkMs: 5 };
  const readers = sidecars.map(({ url }) => new Readers({ ...reading, sidecar: url }));
  const shows = (n: number) => async (): Promise<void> => {
    for (const app of apps)
      expect((await app.get(namespace, '1', { 'cache-control': 'only-if-cached' })).body).toBe(`${n}`);
  };
  await eventually(shows(changes.lsns.length - 1));
  const lateOnes = (): Promise<number> => totalOf(sidecars, 'tidemark_unsettled_loads_total{result="gave_up"}');
  const counts: number[] = [];
  for (let i = 0; counts.length < CHANGES; i += 1) {
    expect(i, 'changes, most of which were seen late').toBeLessThan(MOST_CHANGES);
    const before = origin.loadsOf(namespace);
    const late = await lateOnes();
    const read = readers.map(({ timings }) => timings.length);
    const held = i === 0 && meanwhile !== undefined ? origin.holdAll(namespace) : undefined;
    const n = await changes.next();
    if (held !== undefined) {
      await meanwhile?.();
      held.release();
    }
    await eventually(shows(n));
    await eventually(() =>
      readers.forEach(({ timings }, at) => expect(timings.length).toBeGreaterThan((read[at] ?? 0) + READERS)),
    );
    // Whoever loads in vain has begun by now.
    await pause(50);
    if ((await lateOnes()) === late) counts.push(origin.loadsOf(namespace) - before);
  }
  await Promise.all(readers.map((each) => each.stop()));
  expect(readers.flatMap((each) => changes.stale(each.seen))).toEqual([]);
  expect(readers.map(({ errors }) => errors)).toEqual(readers.map(() => 0));
  return counts;
}
