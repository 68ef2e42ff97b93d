import type { NamespaceConfig } from '@tidemark/proto';
import type { Namespace } from './namespace.ts';

/** Of L1; what is beyond it is for what applications read. */
const FULL = 0.9;

/** What all namespaces hold together, and may; no limit is Infinity. */
export interface Held {
  readonly bytes: number;
  readonly maxBytes: number;
  readonly entries: number;
  readonly maxEntries: number;
}

/** How many entries have had to go for others. */
export function displacedIn({ l1 }: Namespace): number {
  return Object.values(l1.displaced).reduce((sum, count) => sum + count, 0);
}

/** Whether what is warmed from now on would push out what is in use, in this namespace or in another one. */
export function isFull({ l1, config }: Namespace, total: Held): boolean {
  const { maxBytes, maxEntries } = total;
  if (total.bytes > FULL * maxBytes || total.entries > FULL * maxEntries) return true;
  const { maxEntries: own } = config.l1;
  return l1.bytes > FULL * l1.maxBytes || (own !== undefined && l1.entries >= own);
}

/**
 * How many keys are loaded at a time: as many as are asked for, but one less than there are connections to where they are loaded from, or
 * requests would wait for one behind them.
 */
export function atATime({ load = [] }: NamespaceConfig, asked: number, loadPool: number): number {
  const connections = load.map((each) => (each.kind === 'http' ? each.connections : loadPool));
  return Math.max(1, Math.min(asked, ...connections.map((count) => count - 1)));
}

/** Whether a key needs no warming. */
export function isHeld({ l1 }: Namespace, key: string, wallMs: number): boolean {
  const entry = l1.get(key);
  return entry !== undefined && entry.freshUntilMs > wallMs;
}
