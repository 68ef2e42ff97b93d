import type { Namespace } from './namespace.ts';

/** Of L1; what is beyond it is for what applications read. */
const FULL = 0.9;

/** How many entries have had to go for others. */
export function displacedIn({ l1 }: Namespace): number {
  return Object.values(l1.displaced).reduce((sum, count) => sum + count, 0);
}

/** Whether what is warmed from now on would push out what is in use. */
export function isFull({ l1, config }: Namespace): boolean {
  const { maxEntries } = config.l1;
  return l1.bytes > FULL * l1.maxBytes || (maxEntries !== undefined && l1.entries >= maxEntries);
}

/** Whether a key needs no warming. */
export function isHeld({ l1 }: Namespace, key: string, wallMs: number): boolean {
  const entry = l1.get(key);
  return entry !== undefined && entry.freshUntilMs > wallMs;
}
