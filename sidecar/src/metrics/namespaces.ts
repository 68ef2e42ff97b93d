import type { Registry } from 'prom-client';
import type { Namespace, NamespaceCounters } from '../core/namespace.ts';
import { displacedFrom } from './l1.ts';
import { readCounter, readGauge } from './reading.ts';

type Counts = Readonly<Record<string, keyof NamespaceCounters>>;

const RESULTS: Counts = {
  hit_l1: 'hitsL1',
  hit_l2: 'hitsL2',
  hit_coalesced: 'hitsCoalesced',
  hit_stale: 'hitsStale',
  hit_grace: 'hitsGrace',
  hit_pending: 'hitsPending',
  loaded: 'loaded',
  passed: 'passed',
  miss: 'misses',
  bypass: 'bypassed',
  failed: 'failed',
};
const FILLS: Counts = {
  stored: 'fills',
  fenced: 'refusedFenced',
  expired: 'refusedExpired',
  mismatch: 'refusedMismatch',
};
const CAUSES: Counts = { key: 'evictedByKey', tag: 'evictedByTag', prefix: 'evictedByPrefix', flush: 'evictedByFlush' };

/** What became of reads, fills and entries. Namespaces come and go with the configuration. Once. */
export function watchNamespaces(registry: Registry, all: ReadonlyMap<string, Namespace>): void {
  const namespaces = { [Symbol.iterator]: () => all.values() };
  readGauge(registry, {
    name: 'tidemark_rules_info',
    help: '1 for the rules that each namespace is cached under; the hash is that of /v1/status.',
    labels: ['namespace', 'rules'],
    read: (give) => {
      for (const { name, rules } of namespaces) if (rules) give({ namespace: name, rules: rules.hashHex }, 1);
    },
  });
  const count = (name: string, help: string, label: string, of: Counts): void =>
    readCounter(registry, {
      name,
      help,
      labels: ['namespace', label],
      read: (give) => {
        for (const { name: namespace, counters } of namespaces)
          for (const [value, field] of Object.entries(of)) give({ namespace, [label]: value }, counters[field]);
      },
    });
  count(
    'tidemark_requests_total',
    'Reads by how they ended. loaded: by the sidecar; passed: likewise, but not stored.',
    'result',
    RESULTS,
  );
  count('tidemark_fills_total', 'Fills by how they ended.', 'result', FILLS);
  readCounter(registry, {
    name: 'tidemark_evictions_total',
    help: 'Entries that left L1 before their TTL.',
    labels: ['namespace', 'cause'],
    read: (give) => {
      for (const { name: namespace, counters, l1 } of namespaces) {
        for (const [cause, field] of Object.entries(CAUSES)) give({ namespace, cause }, counters[field]);
        give({ namespace, cause: 'room' }, displacedFrom(l1));
      }
    },
  });
  readCounter(registry, {
    name: 'tidemark_refreshes_total',
    help: 'Loads that were begun, by the sidecar or by a caller, although there was a value.',
    labels: ['namespace'],
    read: (give) => {
      for (const { name: namespace, counters } of namespaces) give({ namespace }, counters.refreshes);
    },
  });
  const inGrace = (name: string, help: string, of: 'entries' | 'bytes'): void =>
    readGauge(registry, {
      name,
      help,
      labels: ['namespace'],
      read: (give) => {
        for (const { name: namespace, grace } of namespaces) if (grace) give({ namespace }, grace[of]);
      },
    });
  inGrace('tidemark_grace_entries', 'Values that were invalidated and are kept for who takes them.', 'entries');
  inGrace('tidemark_grace_bytes', 'Memory of those values, beside that of L1; it counts in the total.', 'bytes');
}
