import type { Registry } from 'prom-client';
import type { WarmEnd, WarmResult } from '../core/warm-job.ts';
import type { Warmer } from '../core/warmer.ts';
import { readCounter, readGauge } from './reading.ts';

const ENDS: readonly WarmEnd[] = ['done', 'cancelled', 'full', 'unavailable', 'failing', 'too-long'];

/** What was read into memory before anybody asked. Once. */
export function watchWarm(
  registry: Registry,
  { warmer }: { readonly warmer: Pick<Warmer, 'counts' | 'pending'> },
): void {
  readCounter(registry, {
    name: 'tidemark_warm_keys_total',
    help: 'Keys that were warmed: loaded; shared by L2; present already; absent, for callers to load; failed.',
    labels: ['namespace', 'result'],
    read: (give) => {
      for (const [namespace, { keys }] of warmer.counts)
        for (const [result, count] of Object.entries(keys) as [WarmResult, number][])
          give({ namespace, result }, count);
    },
  });
  readCounter(registry, {
    name: 'tidemark_warmings_total',
    help: 'Warmings by how they ended: done, cancelled, full (of memory), unavailable, failing, too_long.',
    labels: ['namespace', 'end'],
    read: (give) => {
      for (const [namespace, { ends }] of warmer.counts)
        for (const end of ENDS) give({ namespace, end: end.replace('-', '_') }, ends.get(end) ?? 0);
    },
  });
  readGauge(registry, {
    name: 'tidemark_warmings_pending',
    help: 'Warmings that wait or are under way.',
    read: (give) => give({}, warmer.pending),
  });
}
