import type { Registry } from 'prom-client';
import type { Clearance } from '../core/clearance.ts';
import type { RefreshAhead } from '../core/refresh-ahead.ts';
import { readCounter, readGauge } from './reading.ts';

interface Parts {
  readonly clearance: Pick<Clearance, 'claims' | 'others' | 'settling' | 'waiting'>;
  readonly ahead: Pick<RefreshAhead, 'begun'>;
}

/** What keeps values from being loaded more often than they change. Once. */
export function watchStampedes(registry: Registry, { clearance, ahead }: Parts): void {
  const { claims, others, settling } = clearance;
  readCounter(registry, {
    name: 'tidemark_claims_total',
    help: 'Claims on keys that were to be loaded, by what L2 said; taken: another sidecar loads the key.',
    labels: ['result'],
    read: (give) => {
      for (const [result, count] of Object.entries(claims)) give({ result }, count);
    },
  });
  readCounter(registry, {
    name: 'tidemark_claim_waits_total',
    help: 'Keys that another sidecar had a claim on, by what came: its value, its claim, neither in time (alone), or nobody waited.',
    labels: ['result'],
    read: (give) => {
      for (const [result, count] of Object.entries(others)) give({ result }, count);
    },
  });
  readCounter(registry, {
    name: 'tidemark_unsettled_loads_total',
    help: 'Loads that waited until readers of the database see an applied change, and those of them that it took too long for.',
    labels: ['result'],
    read: (give) => {
      give({ result: 'waited' }, settling.waited);
      give({ result: 'gave_up' }, settling.gaveUp);
    },
  });
  readGauge(registry, {
    name: 'tidemark_waiting_loads',
    help: 'Keys that wait until they may be loaded.',
    read: (give) => give({}, clearance.waiting),
  });
  readCounter(registry, {
    name: 'tidemark_ahead_loads_total',
    help: 'Values that were got ahead of readers because a change had evicted a hot key (refresh.ahead).',
    read: (give) => give({}, ahead.begun),
  });
}
