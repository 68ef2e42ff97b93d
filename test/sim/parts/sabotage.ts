import type { Batch, CompiledRules, Lsn } from '@tidemark/proto';
import type { FenceLogs } from '../../../invalidator/src/core/applier-loop.ts';
import type { decideStart } from '../../../invalidator/src/core/start.ts';
import type { VisibleClock } from '../../../invalidator/src/core/visibility.ts';
import type { Beginning } from '../../../invalidator/src/run/beginning.ts';
import type { Coalescer } from '../../../sidecar/src/core/coalescer.ts';
import type { Evictor } from '../../../sidecar/src/core/evictor.ts';
import type { Leases } from '../../../sidecar/src/core/leases.ts';
import type { Namespace } from '../../../sidecar/src/core/namespace.ts';
import type { L2Found } from '../../../sidecar/src/core/ports.ts';
import type { EvictionTarget } from '../../../sidecar/src/core/fenced-memory.ts';
import type { ReplicaView, SourceReplica } from '../../../sidecar/src/core/replica.ts';
import type { ScriptSabotage } from '../redis/client.ts';
import type { SimDocument } from './documents.ts';
import type { lookAt } from './publication.ts';

/** Ways to leave out one guard; a simulation that cannot find the hole is worth nothing. */
export interface Sabotage {
  readonly sidecar?: SidecarSabotage;
  readonly publisher?: PublisherSabotage;
  readonly applier?: ApplierSabotage;
  readonly script?: ScriptSabotage;
}

/** What a document is taken with. */
export interface ConfigurationParts {
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly replica: SourceReplica;
  readonly evictor: Evictor;
  readonly coalescer: Coalescer;
  readonly leases: Leases;
}

/** What goes wrong in a sidecar that lacks a guard. */
export interface SidecarSabotage {
  readonly evictions?: (target: EvictionTarget) => EvictionTarget;
  /** What leases are granted by. */
  readonly granting?: (replica: SourceReplica) => Partial<ReplicaView>;
  /** What fills are checked against. */
  readonly filling?: (replica: SourceReplica) => Partial<ReplicaView>;
  /** What entries from Redis are checked against. */
  readonly reading?: (replica: SourceReplica) => Partial<ReplicaView>;
  /** What decides whether a load that may not be stored is passed on. */
  readonly loading?: (replica: SourceReplica) => Partial<ReplicaView>;
  /** Such a load is passed on to those too who came after it began. */
  readonly passesToAll?: boolean;
  /** What Redis answers. */
  readonly found?: (found: L2Found, replica: SourceReplica) => L2Found;
  /** In place of how a document is taken. */
  readonly take?: (take: () => void, parts: ConfigurationParts, document: SimDocument) => void;
  /** What a record looks like to a replica. */
  readonly record?: (batch: Batch, replica: SourceReplica) => Batch;
  /** When a request is taken to have been sent. */
  readonly requestedAtMs?: (requestedAtMs: number, nowMs: number) => number;
  /** Records of an older epoch do not reach the replica, but what brought them counts as heard. */
  readonly hearsOlder?: boolean;
  /** Where a standby was read counts for nothing. */
  readonly ignoreSourceLsn?: boolean;
  /** Goes on where the reader lost its place. */
  readonly ignoreReset?: boolean;
}

/** What goes wrong in an applier that lacks a guard. */
export interface ApplierSabotage {
  readonly logs?: (logs: FenceLogs) => FenceLogs;
  readonly freshName?: () => string;
}

/** What goes wrong in a publisher that lacks a guard. */
export interface PublisherSabotage {
  /** What the start is decided from. */
  readonly start?: (facts: Parameters<typeof decideStart>[0]) => Parameters<typeof decideStart>[0];
  readonly decision?: (
    decision: ReturnType<typeof decideStart>,
    facts: Parameters<typeof decideStart>[0],
  ) => ReturnType<typeof decideStart>;
  /** A new slot is not waited for until everything before it is visible. */
  readonly ignoreUnseen?: boolean;
  readonly ask?: (unseen: ReadonlySet<number>) => ReadonlySet<number>;
  /** How far the slot may forget, once a record is durable. */
  readonly confirmable?: (clock: VisibleClock, to: Lsn) => Lsn;
  /** The slot is confirmed before Kafka has the record. */
  readonly confirmsEarly?: boolean;
  /** A record that could not be appended is passed over. */
  readonly skipsFailed?: boolean;
  readonly covers?: (covers: readonly bigint[], rules: CompiledRules) => readonly bigint[];
  readonly look?: (look: ReturnType<typeof lookAt>) => ReturnType<typeof lookAt>;
  readonly inherited?: (inherited: Beginning['inherited']) => Beginning['inherited'];
  /** Nothing is unseen that a continued stream has not repeated yet. */
  readonly knowsAll?: boolean;
  /** A slot that is gone is made again in silence. */
  readonly makesMissingSlot?: boolean;
}
