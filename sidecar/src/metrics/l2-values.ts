import type { PackingCounters } from '@tidemark/runtime';
import type { Registry } from 'prom-client';
import { readCounter } from './reading.ts';

/** How values lie in L2, and how many reads share a command. Once. */
export function watchL2Values(
  registry: Registry,
  { packing, counters }: { readonly packing: PackingCounters; readonly counters: { readonly reads?: number } },
): void {
  if (counters.reads !== undefined) {
    readCounter(registry, {
      name: 'tidemark_l2_reads_total',
      help: 'Keys that were read in L2; those of one moment go out in one command.',
      read: (give) => give({}, counters.reads ?? 0),
    });
  }
  readCounter(registry, {
    name: 'tidemark_l2_value_bytes_total',
    help: 'Bytes of the values that were stored, as they are (form="value") and as they lie in L2 (form="stored").',
    labels: ['form'],
    read: (give) => {
      give({ form: 'value' }, packing.valueBytes);
      give({ form: 'stored' }, packing.storedBytes);
    },
  });
  readCounter(registry, {
    name: 'tidemark_l2_compressions_total',
    help: 'Values that zstd was tried on; larger: it would have saved less than an eighth; busy: too many at once.',
    labels: ['result'],
    read: (give) => {
      for (const [result, count] of Object.entries(packing.compressions)) give({ result }, count);
    },
  });
  readCounter(registry, {
    name: 'tidemark_l2_chunks_total',
    help: 'Pieces of large values by what became of them; missing: one of the value was not there, or not its own.',
    labels: ['event'],
    read: (give) => {
      for (const [event, count] of Object.entries(packing.chunks)) give({ event }, count);
    },
  });
}
