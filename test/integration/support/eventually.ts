import { setTimeout as pause } from 'node:timers/promises';

/**
 * Asks again until the check passes, and fails with its last failure when the time is over. For what the product
 * promises to happen by itself; the bound is the last one, for machines that are busy, and the pause only spares them.
 */
export async function eventually<T>(
  check: () => Promise<T> | T,
  options: { withinMs?: number; everyMs?: number } = {},
): Promise<T> {
  const { withinMs = 30_000, everyMs = 5 } = options;
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
