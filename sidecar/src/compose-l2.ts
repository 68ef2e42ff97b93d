import { createMemcached, createRedis, type Logger, type PackingSettings } from '@tidemark/runtime';
import { MemcachedStore } from './adapters/memcached/store.ts';
import { RedisStore } from './adapters/redis/store.ts';
import type { Config } from './config.ts';
import type { Coalescer } from './core/coalescer.ts';
import type { L2Lag } from './core/l2-lag.ts';
import type { Namespace } from './core/namespace.ts';
import type { Clock } from './core/ports.ts';
import { Promoter } from './core/promoter.ts';
import type { ReplicaView } from './core/replica.ts';
import { Restamper } from './core/restamper.ts';
import type { Metrics } from './metrics.ts';

/** What sidecars share, and the one of its kinds that the settings name. */
export type L2Backend =
  | { readonly kind: 'redis'; readonly store: RedisStore; close(): void }
  | { readonly kind: 'memcached'; readonly store: MemcachedStore; close(): void };

/**
 * Sizes of the fence memory where entries of any age are checked against it, and not only fills and what came in the last moments:
 * names share slots, so the more names were invalidated since, the more entries are needless misses. At most 10 MiB.
 */
export const UNLOGGED_FENCE_SLOTS = { keySlots: 2 ** 20, tagSlots: 2 ** 18 } as const;

/** Connects; undefined where the settings name nothing. */
export function createL2(
  of: {
    readonly source: string;
    readonly buckets: number;
    readonly packing: (namespace: string) => PackingSettings;
  },
  { config, metrics, logger }: { readonly config: Config; readonly metrics: Metrics; readonly logger: Logger },
): L2Backend | undefined {
  const { redisUrl, redisDeadlineMs, memcachedUrl, memcachedDeadlineMs, memcachedMaxItemBytes } = config;
  const onLatency = (ms: number): void => metrics.observeL2Latency(ms);
  if (redisUrl !== undefined) {
    const client = createRedis(redisUrl, { deadlineMs: redisDeadlineMs, logger, tls: config.redisTls });
    const store = new RedisStore({ ...of, client, deadlineMs: redisDeadlineMs, onLatency });
    return { kind: 'redis', store, close: () => client.close() };
  }
  if (memcachedUrl !== undefined) {
    const deadlineMs = memcachedDeadlineMs;
    const maxValueBytes = memcachedMaxItemBytes - ITEM_OVERHEAD_BYTES;
    const client = createMemcached(memcachedUrl, { deadlineMs, logger, maxValueBytes });
    const store = new MemcachedStore({ ...of, client, deadlineMs, maxValueBytes, onLatency });
    return { kind: 'memcached', store, close: () => client.close() };
  }
  return undefined;
}

/** How entries of a namespace lie in L2; those of one that is not served any more lie as they are. */
export function packingOf(namespace: Namespace | undefined): PackingSettings {
  if (namespace === undefined) return { compressOverBytes: Infinity, chunkBytes: Infinity, maxItemBytes: 0 };
  const { l2, maxItemBytes } = namespace.config;
  const { compress, chunk: chunkBytes } = l2;
  return { compressOverBytes: compress.enabled ? compress.over : Infinity, chunkBytes, maxItemBytes };
}

/** What memcached counts of an item besides its value: the header and the key, at most 250 bytes; rounded up. */
const ITEM_OVERHEAD_BYTES = 512;

/** What keeps entries in reach, by the kind of the backend (SPEC I12). */
export function createKeeper(
  l2: L2Backend | undefined,
  parts: { readonly coalescer: Coalescer; readonly replica: ReplicaView; readonly clock: Clock },
): { readonly promoter?: Promoter; readonly restamper?: Restamper } {
  if (l2 === undefined) return {};
  return l2.kind === 'redis'
    ? { promoter: new Promoter({ l2: l2.store, ...parts }) }
    : { restamper: new Restamper({ l2: l2.store, ...parts }) };
}

/** What is done once a second: see whether the backend answers, how far it is, and what falls out of reach there. */
export function tickL2(of: {
  readonly l2: L2Backend | undefined;
  readonly promoter?: Promoter;
  readonly restamper?: Restamper;
  readonly replica: ReplicaView;
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly lag: L2Lag;
  readonly clock: Clock;
}): void {
  const { l2, promoter, restamper, replica, namespaces, lag, clock } = of;
  if (l2?.kind === 'redis') {
    void l2.store.probe().then((header) => {
      const log = typeof header === 'object' ? header : undefined;
      lag.sample({ applied: replica.applied, to: log?.to, atMs: clock.monotonicMs() });
      if (log !== undefined) promoter?.sweep(namespaces.values(), log);
    });
  }
  if (l2?.kind === 'memcached') {
    void l2.store.probe();
    restamper?.sweep(namespaces.values());
  }
}
