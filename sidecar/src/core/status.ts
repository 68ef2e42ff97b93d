import { formatLsn } from '@tidemark/proto';
import type { Follower } from './follower.ts';
import type { Namespace } from './namespace.ts';
import type { Clock } from './ports.ts';
import type { ReplicaState, SourceReplica } from './replica.ts';

export type L2State = { readonly state: 'up' | 'down' | 'off'; readonly lagMs: number | null };

/** Where the configuration comes from, and which document is served. */
export interface ConfigStatus {
  readonly from: 'file' | 'topic';
  readonly state: 'waiting' | 'taken';
  /** Of the document in the topic. */
  readonly term: number | null;
  readonly revision: number | null;
  /** What of the newest document was not taken, and why. */
  readonly complaint: string | null;
}

/** Body of `GET /v1/status`: stable, because scripts and the CLI read it. */
export interface Status {
  readonly version: string;
  readonly config: ConfigStatus;
  readonly rules: Readonly<Record<string, { readonly hash: string }>>;
  readonly sources: Readonly<
    Record<
      string,
      {
        readonly epoch: number;
        readonly applied: string;
        readonly visible: string;
        readonly horizon: string;
        readonly lagMs: number;
        readonly state: ReplicaState;
      }
    >
  >;
  readonly l1: { readonly entries: number; readonly bytes: number; readonly maxBytes: number };
  readonly l2: L2State;
  readonly namespaces: Readonly<
    Record<
      string,
      {
        readonly hits: { readonly l1: number; readonly l2: number };
        readonly misses: number;
        readonly fills: number;
        readonly refused: number;
      }
    >
  >;
}

export interface StatusOptions {
  readonly version: string;
  readonly config: ConfigStatus;
  /** Undefined until the source is known. */
  readonly core:
    | {
        readonly source: string;
        readonly namespaces: ReadonlyMap<string, Namespace>;
        readonly replica: SourceReplica;
        readonly follower: Follower;
      }
    | undefined;
  readonly l2: () => L2State;
  readonly clock: Clock;
}

/** What a person wants to know first. A hit after waiting for another caller's fill counts as one of L1. */
export function statusOf(options: StatusOptions): Status {
  const { core, clock } = options;
  const namespaces = [...(core?.namespaces.values() ?? [])];
  const sum = (of: (namespace: Namespace) => number): number =>
    namespaces.reduce((total, namespace) => total + of(namespace), 0);
  return {
    version: options.version,
    config: options.config,
    rules: Object.fromEntries(
      namespaces.flatMap(({ name, rules }) => (rules === undefined ? [] : [[name, { hash: rules.hashHex }]])),
    ),
    sources: core === undefined ? {} : { [core.source]: sourceOf(core, clock) },
    l1: {
      entries: sum(({ l1 }) => l1.entries),
      bytes: sum(({ l1 }) => l1.bytes),
      maxBytes: sum(({ l1 }) => l1.maxBytes),
    },
    l2: options.l2(),
    namespaces: Object.fromEntries(
      namespaces.map(({ name, counters }) => [
        name,
        {
          hits: { l1: counters.hitsL1 + counters.hitsCoalesced, l2: counters.hitsL2 },
          misses: counters.misses + counters.bypassed,
          fills: counters.fills,
          refused: counters.refused,
        },
      ]),
    ),
  };
}

function sourceOf({ replica, follower }: NonNullable<StatusOptions['core']>, clock: Clock): Status['sources'][string] {
  return {
    epoch: replica.epoch,
    applied: formatLsn(replica.applied),
    visible: formatLsn(replica.visible),
    horizon: formatLsn(Number.isFinite(replica.horizon) ? replica.horizon : 0),
    lagMs: Math.round(follower.lagMs),
    state: replica.state(clock.monotonicMs()),
  };
}
