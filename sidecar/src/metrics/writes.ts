import type { Registry } from 'prom-client';
import type { OwnFate } from '../core/own-writes.ts';
import type { SqlPool } from '../core/sql.ts';
import type { WriteEnd } from '../core/write-through.ts';
import { readCounter, readGauge } from './reading.ts';

const ENDS: readonly WriteEnd[] = [
  ...(['stored', 'passed', 'nothing'] as const),
  ...(['busy', 'unavailable', 'timeout', 'unknown', 'conflict', 'invalid', 'too-large', 'misconfigured'] as const),
];

interface Parts {
  readonly through: {
    readonly counts: ReadonlyMap<string, Partial<Record<WriteEnd, number>>>;
    readonly fates: Readonly<Record<OwnFate, number>>;
    readonly unplaced: () => number;
    /** Undefined where there is none. */
    readonly pool: Pick<SqlPool, 'most' | 'inUse' | 'waiting'> | undefined;
  };
}

/** What became of writes and of their values, and what keeps more of them from being made. Once. */
export function watchWrites(registry: Registry, { through: { counts, fates, unplaced, pool } }: Parts): void {
  readCounter(registry, {
    name: 'tidemark_writes_total',
    help: 'Writes by how they ended: stored (and served at once), passed (written, not stored), nothing (no row), or why they failed.',
    labels: ['namespace', 'result'],
    read: (give) => {
      for (const [namespace, counted] of counts)
        for (const result of ENDS) give({ namespace, result: result.replace('-', '_') }, counted[result] ?? 0);
    },
  });
  readCounter(registry, {
    name: 'tidemark_own_values_total',
    help: 'Values of writes by what became of them once the stream told of the write: kept, evicted, spoiled (another change came first), forgotten.',
    labels: ['fate'],
    read: (give) => {
      for (const [fate, count] of Object.entries(fates)) give({ fate }, count);
    },
  });
  readGauge(registry, {
    name: 'tidemark_writes_unplaced',
    help: 'Writes of which nobody could say yet where they were committed: nothing is cached under their keys, for 10 s at most.',
    read: (give) => give({}, unplaced()),
  });
  if (pool === undefined) return;
  readGauge(registry, {
    name: 'tidemark_write_connections_max',
    help: 'Connections to Postgres that writes may have (TIDEMARK_WRITE_POOL).',
    read: (give) => give({}, pool.most),
  });
  readGauge(registry, {
    name: 'tidemark_write_connections_busy',
    help: 'Connections to Postgres that work for a write.',
    read: (give) => give({}, pool.inUse),
  });
  readGauge(registry, {
    name: 'tidemark_writes_waiting',
    help: 'Writes that wait for a connection to Postgres.',
    read: (give) => give({}, pool.waiting),
  });
}
