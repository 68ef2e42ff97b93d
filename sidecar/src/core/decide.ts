import { parseHeader, parsePair } from '@tidemark/proto/redis';
import type { Entry, Lsn, NamespaceRules } from '@tidemark/proto';
import type { Lease } from './leases.ts';
import type { ReplicaView } from './replica.ts';

/** `fenced`: the value may be older than a change that was applied; `wrong-key`: the lease is for another key. */
export type FillVerdict =
  | { readonly ok: true; readonly asOf: Lsn }
  | { readonly ok: false; readonly why: 'fenced' | 'wrong-key' };

/**
 * Whether a fill may be stored (SPEC I5). `sourceLsn` is the replay position of the replica that was read, if it was
 * not the primary. Must be followed by the store in the same tick, or a change could slip between.
 */
export function decideFill(
  replica: ReplicaView,
  fill: { lease: Lease; namespace: NamespaceRules; key: string; tags: readonly string[]; sourceLsn?: Lsn | undefined },
): FillVerdict {
  const { lease, namespace, key, tags, sourceLsn } = fill;
  if (lease.namespace !== namespace || lease.key !== key) return { ok: false, why: 'wrong-key' };
  const asOf = sourceLsn === undefined ? lease.asOf : Math.min(lease.asOf, sourceLsn);
  const fenced =
    lease.epoch !== replica.epoch ||
    asOf < replica.horizon ||
    !replica.covers(namespace) ||
    replica.newestFence(namespace, key, tags) > asOf;
  return fenced ? { ok: false, why: 'fenced' } : { ok: true, asOf };
}

/** What Redis answered for a key, undecoded: header of the fence log, state of the namespace. */
export interface L2Context {
  readonly log: string | undefined;
  readonly pair: string | undefined;
}

/** Why an entry from Redis may not be served; for metrics. */
export type L2Refusal = 'no-log' | 'generation' | 'epoch' | 'behind' | 'namespace' | 'fenced' | 'expired';

/**
 * Whether an entry that was read from Redis may be served now (SPEC I6, I7). Redis has checked it against everything up
 * to the log's `to` (fences on keys delete, fences on tags are compared by the script); our own memory knows (H, W]. So
 * `to` must reach our horizon, and our fences above `to` must agree. Must be used in the same tick.
 */
export function decideL2(
  replica: ReplicaView,
  found: {
    entry: Entry;
    context: L2Context;
    generation: string;
    namespace: NamespaceRules;
    key: string;
    wallMs: number;
  },
): L2Refusal | undefined {
  const { entry, context, generation, namespace, key, wallMs } = found;
  const log = context.log === undefined ? undefined : parseHeader(context.log);
  if (log === undefined) return 'no-log';
  if (log.generation !== generation) return 'generation';
  if (log.epoch !== replica.epoch || entry.epoch !== replica.epoch) return 'epoch';
  if (log.to < replica.horizon) return 'behind';
  const pair = context.pair === undefined ? undefined : parsePair(context.pair);
  if (pair === undefined || pair.adoption !== log.adoption || entry.asOf < pair.from || !replica.covers(namespace))
    return 'namespace';
  if (pair.fence > entry.asOf) return 'fenced';
  if (replica.newestFence(namespace, key, entry.tags) > Math.max(entry.asOf, log.to)) return 'fenced';
  return entry.expiresAtMs <= wallMs ? 'expired' : undefined;
}

/** Why an entry of a backend without a fence log may not be served; for metrics. */
export type UnloggedRefusal = 'epoch' | 'behind' | 'namespace' | 'fenced' | 'expired';

/**
 * Whether an entry may be served that nobody but this sidecar can check (SPEC I17): the backend may hold anything that was ever
 * stored there. Its `asOf` says what it reflects, wherever it has been; our own memory knows (H, W], so it must begin there. Must be
 * used in the same tick.
 */
export function decideUnlogged(
  replica: ReplicaView,
  found: { entry: Entry; namespace: NamespaceRules; key: string; wallMs: number },
): UnloggedRefusal | undefined {
  const { entry, namespace, key, wallMs } = found;
  if (entry.epoch !== replica.epoch) return 'epoch';
  if (entry.asOf < replica.horizon) return 'behind';
  if (!replica.covers(namespace)) return 'namespace';
  if (replica.newestFence(namespace, key, entry.tags) > entry.asOf) return 'fenced';
  return entry.expiresAtMs <= wallMs ? 'expired' : undefined;
}

/** Whether an entry may take the place of one that others may still read: what is newer stays, and nothing else can be compared. */
export function mayReplace(present: Entry, entry: Entry): boolean {
  return present.epoch !== entry.epoch || present.asOf <= entry.asOf;
}
