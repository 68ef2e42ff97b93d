import { SqlKeys } from './adapters/sql-keys.ts';
import type { Loading } from './compose-load.ts';
import type { L2Backend } from './compose-l2.ts';
import type { Coalescer } from './core/coalescer.ts';
import type { L2Look } from './core/l2-look.ts';
import type { Namespace } from './core/namespace.ts';
import type { Clock, Random } from './core/ports.ts';
import { WarmTriggers } from './core/warm-triggers.ts';
import { Warmer } from './core/warmer.ts';

/** What reads keys into memory before anybody asks, and what begins that. */
export function createWarming(options: {
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly coalescer: Coalescer;
  readonly look: L2Look;
  readonly clock: Clock;
  readonly random: Random;
  readonly l2: L2Backend | undefined;
  readonly loading: Pick<Loading, 'pool'>;
}): { readonly warmer: Warmer; readonly warmTriggers: WarmTriggers } {
  const { l2, loading } = options;
  const hotList = l2?.kind === 'redis' ? l2.store.hotList : undefined;
  const keySource = loading.pool && new SqlKeys(loading.pool);
  const warmer = new Warmer({ ...options, hotList, keySource });
  return { warmer, warmTriggers: new WarmTriggers({ ...options, warmer, hotList }) };
}
