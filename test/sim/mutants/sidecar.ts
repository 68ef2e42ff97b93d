import type { EvictionTarget } from '../../../sidecar/src/core/fenced-memory.ts';
import { ALL_RULES } from '../parts/documents.ts';
import type { Mutant } from './mutant.ts';

const COVERS = ALL_RULES.namespaces.map(({ hash }) => hash);

/** One way to evict does nothing. */
function without(left: 'key' | 'tag' | 'prefix' | 'namespace') {
  return (target: EvictionTarget): EvictionTarget => ({
    mark: (...a) => target.mark(...a),
    key: (...a) => target.key(...a),
    tag: (...a) => target.tag(...a),
    prefix: (...a) => target.prefix(...a),
    namespace: (...a) => target.namespace(...a),
    [left]: () => 0,
  });
}

/** Guards of a sidecar (SPEC I1, I3 to I10). */
export const SIDECAR_MUTANTS: readonly Mutant[] = [
  { guard: 'keys are evicted from L1', seed: 1, sabotage: { sidecar: { evictions: without('key') } } },
  { guard: 'tags are evicted from L1', seed: 1, sabotage: { sidecar: { evictions: without('tag') } } },
  { guard: 'prefixes are evicted from L1', seed: 24, sabotage: { sidecar: { evictions: without('prefix') } } },
  { guard: 'namespaces are flushed from L1', seed: 2, sabotage: { sidecar: { evictions: without('namespace') } } },
  {
    guard: 'leases carry the visible clock',
    seed: 26,
    sabotage: {
      sidecar: {
        granting: (replica) => ({
          get visible() {
            return replica.applied;
          },
        }),
      },
    },
  },
  {
    guard: 'fills are checked against fences',
    seed: 1,
    sabotage: { sidecar: { filling: () => ({ newestFence: () => 0 }) } },
  },
  {
    guard: 'fills are checked against the horizon',
    seed: 37,
    sabotage: { sidecar: { filling: () => ({ horizon: 0 }) } },
  },
  {
    guard: 'fills are checked against the epoch',
    seed: 1,
    sabotage: { sidecar: { granting: () => ({ epoch: 7 }), filling: () => ({ epoch: 7 }) } },
  },
  {
    guard: 'a standby says how far it was before it was read',
    seed: 1,
    sabotage: { sidecar: { ignoreSourceLsn: true } },
  },
  {
    guard: 'a gap is noticed',
    seed: 266,
    sabotage: {
      sidecar: {
        record: (batch, { applied, epoch }) =>
          batch.epoch === epoch && batch.from > applied && applied > 0 ? { ...batch, from: applied } : batch,
      },
    },
  },
  {
    guard: 'a lost place is noticed',
    seed: 266,
    sabotage: {
      sidecar: {
        ignoreReset: true,
        record: (batch, { applied, epoch }) =>
          batch.epoch === epoch && batch.from > applied && applied > 0 ? { ...batch, from: applied } : batch,
      },
    },
  },
  {
    guard: 'a record of a later epoch flushes',
    seed: 1,
    sabotage: {
      sidecar: { record: (batch, { epoch }) => (epoch > 0 && batch.epoch > epoch ? { ...batch, epoch } : batch) },
    },
  },
  {
    guard: 'a stream that is not heard stalls',
    seed: 12,
    sabotage: { sidecar: { granting: () => ({ state: () => 'live' }) } },
  },
  {
    guard: 'a request counts from when it was sent, by a process that slept',
    seed: 448,
    sabotage: { sidecar: { requestedAtMs: (_sentAtMs, nowMs) => nowMs } },
  },
  {
    guard: 'an older epoch is not taken for a sign of life',
    seed: 141,
    sabotage: { sidecar: { hearsOlder: true } },
  },
  {
    guard: 'a namespace that the publisher does not cover is not cached',
    seed: 9,
    sabotage: {
      sidecar: {
        granting: () => ({ covers: () => true }),
        filling: () => ({ covers: () => true }),
        reading: () => ({ covers: () => true }),
        record: (batch) => ({ ...batch, covers: COVERS }),
      },
    },
  },
];
