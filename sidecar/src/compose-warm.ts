import { SqlKeys } from './adapters/sql-keys.ts';
import { PostgresPool } from './adapters/sql-pool.ts';
import type { L2Backend } from './compose-l2.ts';
import type { Config } from './config.ts';
import type { Coalescer } from './core/coalescer.ts';
import type { L2Look } from './core/l2-look.ts';
import type { Namespace } from './core/namespace.ts';
import type { Clock, Random } from './core/ports.ts';
import type { Held } from './core/warm-room.ts';
import { WarmTriggers } from './core/warm-triggers.ts';
import { Warmer } from './core/warmer.ts';

const CLOSE_MS = 1_000;

/** What reads keys into memory before anybody asks, and what begins that. */
export function createWarming(options: {
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly coalescer: Coalescer;
  readonly look: L2Look;
  readonly clock: Clock;
  readonly random: Random;
  readonly l2: L2Backend | undefined;
  readonly config: Pick<Config, 'loadUrl' | 'loadPool' | 'instance'>;
  /** What all namespaces hold. */
  readonly budget: Held;
}): { readonly warmer: Warmer; readonly warmTriggers: WarmTriggers; stopWarming(): Promise<void> } {
  const { l2, config, budget: total } = options;
  const { loadUrl: url, loadPool, instance } = config;
  const hotList = l2?.kind === 'redis' ? l2.store.hotList : undefined;
  // A query for keys may take half a minute: no load waits for a connection behind it.
  const applicationName = `tidemark sidecar ${instance} warm`;
  const pool = url === undefined ? undefined : new PostgresPool({ url, applicationName, most: 1, mostWaiting: 1 });
  const keySource = pool && new SqlKeys(pool);
  const warmer = new Warmer({ ...options, hotList, keySource, total, loadPool });
  return {
    warmer,
    warmTriggers: new WarmTriggers({ ...options, warmer, hotList }),
    stopWarming() {
      warmer.stop();
      return pool === undefined ? Promise.resolve() : pool.close(CLOSE_MS);
    },
  };
}
