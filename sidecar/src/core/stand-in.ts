import type { ValueOutcome } from './flights.ts';
import { mayStandIn, worthOf, type Accepts } from './freshness.ts';
import type { Namespace } from './namespace.ts';

/**
 * An old value that a caller takes: one that nothing has changed but that is beyond its hard TTL, else one in grace. `failed` where a new
 * one cannot be had.
 */
export function standIn(
  namespace: Namespace,
  key: string,
  { accepts, wallMs, failed }: { accepts: Accepts; wallMs: number; failed: boolean },
): ValueOutcome | undefined {
  if (failed && accepts.staleIfErrorMs === Number.NEGATIVE_INFINITY) return undefined;
  const entry = namespace.l1.get(key);
  if (entry !== undefined) {
    const takes = failed ? mayStandIn(entry, accepts, wallMs) : worthOf(entry, accepts, wallMs) === 'stale';
    return takes ? { kind: 'value', entry, from: 'stale' } : undefined;
  }
  const kept = namespace.grace?.find(key, { accepts, failed });
  return kept && { kind: 'value', entry: kept, from: 'grace' };
}
