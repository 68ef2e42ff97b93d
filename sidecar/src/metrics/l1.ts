import type { Registry } from 'prom-client';
import type { Displacement, L1Store } from '../core/ports.ts';
import { readCounter, readGauge } from './reading.ts';

const REASONS: readonly Displacement[] = ['bytes', 'entries', 'total_bytes', 'total_entries'];

interface Parts {
  readonly namespaces: ReadonlyMap<string, { readonly name: string; readonly l1: L1Store }>;
  /** What all namespaces may hold together; infinite where nothing bounds that. */
  readonly budget: { readonly maxBytes: number; readonly maxEntries: number };
}

/** What the memory holds, what it may, and what went because there was no room. Once. */
export function watchL1(registry: Registry, { namespaces, budget }: Parts): void {
  const labels = ['namespace'];
  const all = { [Symbol.iterator]: () => namespaces.values() };
  readGauge(registry, {
    name: 'tidemark_l1_bytes',
    help: 'Memory of the entries in L1.',
    labels,
    read: (give) => {
      for (const { name, l1 } of all) give({ namespace: name }, l1.bytes);
    },
  });
  readGauge(registry, {
    name: 'tidemark_l1_max_bytes',
    help: 'Memory that they may have (l1.maxBytes).',
    labels,
    read: (give) => {
      for (const { name, l1 } of all) give({ namespace: name }, l1.maxBytes);
    },
  });
  readGauge(registry, {
    name: 'tidemark_l1_entries',
    help: 'Entries in L1.',
    labels,
    read: (give) => {
      for (const { name, l1 } of all) give({ namespace: name }, l1.entries);
    },
  });
  readGauge(registry, {
    name: 'tidemark_l1_total_max_bytes',
    help: 'Memory that all namespaces may have together (TIDEMARK_L1_MAX_BYTES); +Inf where nothing is set.',
    read: (give) => give({}, budget.maxBytes),
  });
  readGauge(registry, {
    name: 'tidemark_l1_total_max_entries',
    help: 'Entries that all namespaces may have together (TIDEMARK_L1_MAX_ENTRIES); +Inf where nothing is set.',
    read: (give) => give({}, budget.maxEntries),
  });
  readCounter(registry, {
    name: 'tidemark_l1_displaced_total',
    help: 'Entries that went for lack of room, by the limit of the namespace (bytes, entries) or of the process (total_…).',
    labels: ['namespace', 'reason'],
    read: (give) => {
      for (const { name, l1 } of all)
        for (const reason of REASONS) give({ namespace: name, reason }, l1.displaced[reason]);
    },
  });
}

/** How many entries of a namespace went for lack of room. */
export function displacedFrom({ displaced }: L1Store): number {
  return REASONS.reduce((sum, reason) => sum + displaced[reason], 0);
}
