import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'vitest';
import type { App } from './app.ts';
import { eventually } from './eventually.ts';
import { Readers, type Changes, type Origin } from './stampede.ts';

/** Of each sidecar. */
const READERS = 20;
const CHANGES = 8;
/** Each number loaded once. */
export const ONCE: readonly number[] = Array.from({ length: CHANGES }, () => 1);

/** Changes the row again and again while many read it through all sidecars; how often each number was loaded. No read may be stale. */
export async function loadsByChange(options: {
  sidecars: readonly { readonly url: string }[];
  apps: readonly App[];
  origin: Origin;
  changes: Changes;
  namespace: string;
}): Promise<number[]> {
  const { sidecars, apps, origin, changes, namespace } = options;
  const reading = { origin: origin.url, namespace, count: READERS, thinkMs: 5 };
  const readers = sidecars.map(({ url }) => new Readers({ ...reading, sidecar: url }));
  const shows = (n: number) => async (): Promise<void> => {
    for (const app of apps)
      expect((await app.get(namespace, '1', { 'cache-control': 'only-if-cached' })).body).toBe(`${n}`);
  };
  await eventually(shows(changes.lsns.length - 1));
  const counts: number[] = [];
  for (let i = 0; i < CHANGES; i += 1) {
    const before = origin.loadsOf(namespace);
    const n = await changes.next();
    await eventually(shows(n));
    // Whoever loads in vain has begun by now.
    await pause(50);
    counts.push(origin.loadsOf(namespace) - before);
  }
  await Promise.all(readers.map((each) => each.stop()));
  expect(readers.flatMap((each) => changes.stale(each.seen))).toEqual([]);
  expect(readers.map(({ errors }) => errors)).toEqual(readers.map(() => 0));
  expect(readers.reduce((sum, { timings }) => sum + timings.length, 0)).toBeGreaterThan(
    sidecars.length * READERS * CHANGES,
  );
  return counts;
}
