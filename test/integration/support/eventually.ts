import { setTimeout as pause } from 'node:timers/promises';

/**
 * Asks again until the check passes, and fails with its last failure when the time is over. For what the product
 * promises to happen by itself within a bound; the pause only spares the machine.
 */
export async function eventually<T>(
  check: () => Promise<T> | T,
  options: { withinMs?: number; everyMs?: number } = {},
): Promise<T> {
  const { withinMs = 10_000, everyMs = 5 } = options;
  const endMs = performance.now() + withinMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > endMs) throw error;
      await pause(everyMs);
    }
  }
}
