import { parseKeyPattern, type LoaderConfig, type NamespaceConfig } from '@tidemark/proto';
import type { Logger } from '@tidemark/runtime';
import { HttpLoader } from './adapters/http-loader.ts';
import { SqlLoader } from './adapters/sql-loader.ts';
import { PostgresPool } from './adapters/sql-pool.ts';
import type { Config } from './config.ts';
import { Breaker } from './core/breaker.ts';
import { Origins, type LoadCounts } from './core/load-origins.ts';
import type { Origin } from './core/origin.ts';
import type { Clock, Loader } from './core/ports.ts';
import type { ServerIdentity } from './core/server-identity.ts';

/** Loads that wait for a connection to Postgres, for each connection. */
const WAITING_PER_CONNECTION = 64;
const CLOSE_MS = 1_000;

export interface LoadingOptions {
  readonly config: Pick<Config, 'loadUrl' | 'loadPool' | 'leaseTtlMs' | 'instance'>;
  /** The server that the stream comes from. */
  readonly followed: () => ServerIdentity;
  readonly clock: Clock;
  readonly onLoad: (namespace: string, ms: number) => void;
  readonly logger: Logger;
}

/** What loads the values of namespaces with `load`. Connects to nothing until one is loaded. */
export function createLoading({ config, followed, clock, onLoad, logger }: LoadingOptions) {
  const { loadUrl: url, loadPool: most, leaseTtlMs, instance } = config;
  const applicationName = `tidemark sidecar ${instance}`;
  const pool = url && new PostgresPool({ url, applicationName, most, mostWaiting: most * WAITING_PER_CONNECTION });
  const counts = new Map<string, LoadCounts>();

  const originOf = (
    namespace: string,
    loader: LoaderConfig,
    { invalidation, maxItemBytes: maxBytes }: NamespaceConfig,
  ): Origin => {
    // Under a lease that has expired nothing could be stored.
    const timeoutMs = Math.min(loader.timeout, leaseTtlMs);
    if (loader.kind === 'http') return new HttpLoader({ namespace, config: loader, timeoutMs, maxBytes });
    // Where nothing is coherent, no positions are compared.
    const of = invalidation === 'rules' ? followed : undefined;
    return pool ? new SqlLoader({ config: loader, pool, timeoutMs, maxBytes, followed: of }) : NO_POSTGRES;
  };

  return {
    /** Undefined without TIDEMARK_LOAD_URL. */
    pool: pool || undefined,

    createLoader(name: string, of: NamespaceConfig): Loader | undefined {
      const { load } = of;
      if (load === undefined) return undefined;
      if (!pool && load.some(({ kind }) => kind === 'sql')) {
        logger.error(
          { namespace: name },
          'the namespace is loaded by SQL, but TIDEMARK_LOAD_URL is not set: reads that miss will fail',
        );
      }
      const origins = load.map((loader) => {
        const { failures, for: forMs } = loader.breaker;
        const origin = new Breaker({ origin: originOf(name, loader, of), clock, failures, forMs });
        return { pattern: parseKeyPattern(loader.key), origin };
      });
      const counted = counts.get(name) ?? {};
      counts.set(name, counted);
      return new Origins({ origins, clock, counts: counted, onLoad: (ms) => onLoad(name, ms) });
    },

    stop: () => (pool ? pool.close(CLOSE_MS) : Promise.resolve()),
  };
}

/** A miss would be taken for the caller's to load, which has left that to us: so it is told what is wrong. */
const NO_POSTGRES: Origin = {
  load: () =>
    Promise.resolve({
      kind: 'failed',
      why: 'unavailable',
      detail: 'this sidecar has no TIDEMARK_LOAD_URL to load from',
    }),
};
