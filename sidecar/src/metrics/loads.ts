import type { Registry } from 'prom-client';
import { Origins, type LoadResult } from '../core/load-origins.ts';
import type { Loader } from '../core/ports.ts';
import type { SqlPool } from '../core/sql.ts';
import { readCounter, readGauge } from './reading.ts';

const RESULTS: readonly LoadResult[] = [
  ...(['value', 'absent', 'timeout', 'unavailable', 'error', 'too-large', 'busy', 'open'] as const),
];

interface Parts {
  readonly namespaces: ReadonlyMap<string, { readonly loader: Loader | undefined }>;
  /** Its pool is undefined where there is none. */
  readonly loading: { readonly pool: Pick<SqlPool, 'most' | 'inUse' | 'waiting'> | undefined };
}

/** What became of loads, and what keeps more of them from being tried. Once. */
export function watchLoads(registry: Registry, { namespaces, loading: { pool } }: Parts): void {
  const loaders = function* (): Generator<readonly [namespace: string, origins: Origins]> {
    for (const [name, { loader }] of namespaces) if (loader instanceof Origins) yield [name, loader];
  };
  readCounter(registry, {
    name: 'tidemark_loads_total',
    help: 'Loads by how they ended: value, absent, or why there was none (open: the circuit breaker).',
    labels: ['namespace', 'result'],
    read: (give) => {
      for (const [namespace, { counts }] of loaders())
        for (const result of RESULTS) give({ namespace, result: result.replace('-', '_') }, counts[result] ?? 0);
    },
  });
  readGauge(registry, {
    name: 'tidemark_load_breakers_open',
    help: 'Loaders of the namespace whose circuit breaker is not closed.',
    labels: ['namespace'],
    read: (give) => {
      for (const [namespace, { broken }] of loaders()) give({ namespace }, broken);
    },
  });
  if (pool === undefined) return;
  readGauge(registry, {
    name: 'tidemark_load_connections_max',
    help: 'Connections to Postgres that loads may have (TIDEMARK_LOAD_POOL).',
    read: (give) => give({}, pool.most),
  });
  readGauge(registry, {
    name: 'tidemark_load_connections_busy',
    help: 'Connections to Postgres that work for a load.',
    read: (give) => give({}, pool.inUse),
  });
  readGauge(registry, {
    name: 'tidemark_load_waiting',
    help: 'Loads that wait for a connection to Postgres.',
    read: (give) => give({}, pool.waiting),
  });
}
