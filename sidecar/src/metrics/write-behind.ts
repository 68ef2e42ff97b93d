import type { Registry } from 'prom-client';
import type { BehindCounters } from '../core/behind-writer.ts';
import type { PendingWrites } from '../core/pending-writes.ts';
import type { Clock } from '../core/ports.ts';
import { readCounter, readGauge } from './reading.ts';

interface Parts {
  readonly writes: PendingWrites;
  readonly counters: ReadonlyMap<string, BehindCounters>;
  readonly restarts: number;
}

/** What waits for the database here, and what became of writes that were taken here. Once. */
export function watchWriteBehind(registry: Registry, parts: Parts, clock: Pick<Clock, 'wallMs' | 'monotonicMs'>): void {
  const labels = ['namespace'];
  readGauge(registry, {
    name: 'tidemark_write_behind_pending',
    help: 'Keys with a write that is not in the database yet, as this sidecar knows.',
    labels,
    read: (give) => {
      for (const [namespace, pending] of parts.writes.namespaces) give({ namespace }, pending.size);
    },
  });
  readGauge(registry, {
    name: 'tidemark_write_behind_pending_bytes',
    help: 'Their memory; writes are refused beyond three quarters of writeBehind.maxPending.',
    labels,
    read: (give) => {
      for (const [namespace, pending] of parts.writes.namespaces) give({ namespace }, pending.bytes);
    },
  });
  readGauge(registry, {
    name: 'tidemark_write_behind_oldest_seconds',
    help: 'Age of the oldest of them, by the clocks of two machines.',
    labels,
    read: (give) => {
      const wallMs = clock.wallMs();
      for (const [namespace, { oldestAtMs }] of parts.writes.namespaces)
        give({ namespace }, oldestAtMs === undefined ? 0 : Math.max(0, wallMs - oldestAtMs) / 1000);
    },
  });
  readGauge(registry, {
    name: 'tidemark_write_behind_known',
    help: '1 while it is known which writes wait; else reads of the namespace are bypassed.',
    labels,
    read: (give) => {
      const nowMs = clock.monotonicMs();
      for (const [namespace, pending] of parts.writes.namespaces)
        give({ namespace }, pending.bypass(nowMs) === undefined ? 1 : 0);
    },
  });
  readCounter(registry, {
    name: 'tidemark_write_behind_acknowledged_total',
    help: 'Writes that were accepted (202).',
    labels,
    read: (give) => {
      for (const [namespace, { acknowledged }] of parts.counters) give({ namespace }, acknowledged);
    },
  });
  readCounter(registry, {
    name: 'tidemark_write_behind_refused_total',
    help: 'Writes that were not accepted, by why; of "unknown" nobody knows whether they will be written.',
    labels: ['namespace', 'reason'],
    read: (give) => {
      for (const [namespace, { refused }] of parts.counters)
        for (const [reason, count] of Object.entries(refused)) give({ namespace, reason }, count);
    },
  });
  readCounter(registry, {
    name: 'tidemark_write_behind_restarts_total',
    help: 'How often it had to be found out anew which writes wait.',
    labels: [],
    read: (give) => give({}, parts.restarts),
  });
}
