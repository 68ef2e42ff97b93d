import { setTimeout as wait } from 'node:timers/promises';

const everyMs = 20;
const withinMs = 180_000;

/** Asks again until the answer is yes. Rejects after three minutes: whatever a nemesis waits for comes sooner, or not at all. */
export async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!(await check())) {
    if (performance.now() > endMs) throw new Error(`waited ${withinMs / 1000} s in vain until ${what}`);
    await wait(everyMs);
  }
}
