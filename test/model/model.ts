/** How often each fault may strike in one history. */
export interface Faults {
  /** The publisher is killed. */
  readonly crash?: number;
  /** Another database server takes over. */
  readonly failover?: number;
  /** The slot is dropped, or dropped and made again. */
  readonly slot?: number;
  /** A request to Kafka is sent twice, the second arriving at any later time. */
  readonly duplicate?: number;
  /** Kafka deletes old records. */
  readonly retention?: number;
  /** A sidecar is restarted. */
  readonly restart?: number;
  /** The applier is restarted, or another takes over. */
  readonly applier?: number;
  /** The fence log grows beyond its bound. */
  readonly trim?: number;
  /** Redis is flushed, or evicts the log or its fences. */
  readonly forget?: number;
  /** An image of Redis is taken, in place of that of the beginning. */
  readonly snapshot?: number;
  /** The image is restored. */
  readonly restore?: number;
}

/** One finite instance of Coherence.tla. */
export interface Model {
  readonly sidecars: number;
  /** None: no Redis. */
  readonly appliers: number;
  readonly isTagged?: boolean;
  readonly hasStandby?: boolean;
  readonly maxLsn: number;
  readonly maxRecords: number;
  readonly maxEpochs?: number;
  readonly maxGenerations?: number;
  /** Commits may be streamed before snapshots see them. */
  readonly hasLateSight?: boolean;
  /** Commits may touch nothing that is cached. */
  readonly hasIdleCommits?: boolean;
  /** A record may end before the newest commit. */
  readonly cutsAnywhere?: boolean;
  readonly faults?: Faults;
  /** How many faults of any kind one history may have. */
  readonly maxFaults?: number;
  /** Rules that are left out; Coherence.tla lists their names. */
  readonly without?: readonly string[];
  /** Designs that were considered; Coherence.tla lists their names. */
  readonly having?: readonly string[];
  /** What is checked instead of {@link invariants}. */
  readonly invariants?: readonly string[];
}

/** What must hold in every state. */
export const invariants = ['TypeOK', 'NoResurrection', 'FillRefusal', 'VisibleLeApplied', 'RedisIsTrue'];

const noFaults: Required<Faults> = {
  crash: 0,
  failover: 0,
  slot: 0,
  duplicate: 0,
  retention: 0,
  restart: 0,
  applier: 0,
  trim: 0,
  forget: 0,
  snapshot: 0,
  restore: 0,
};

const names = (letter: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${letter}${i + 1}`);
const set = (members: readonly string[]): string => `{${members.join(', ')}}`;
const strings = (members: readonly string[]): string => set(members.map((member) => JSON.stringify(member)));
const bool = (value: boolean | undefined): string => (value === true ? 'TRUE' : 'FALSE');

/** What a configuration file of TLC cannot hold: functions, and symmetry. */
export function moduleText(model: Model): string {
  const faults = { ...noFaults, ...model.faults };
  const all = model.maxFaults ?? Object.values(faults).reduce((sum, count) => sum + count, 0);
  const budget = Object.entries({ ...faults, all }).map(([name, count]) => `${name} |-> ${count}`);
  return `---- MODULE MC ----
EXTENDS Coherence
MCBudget == [${budget.join(', ')}]
MCWithout == ${strings(model.without ?? [])}
MCWith == ${strings(model.having ?? [])}
MCSymmetry == ${
    symmetric(model)
      .map((name) => `Permutations(${name})`)
      .join(' \\cup ') || '{}'
  }
====
`;
}

function symmetric(model: Model): string[] {
  return [...(model.sidecars > 1 ? ['Sidecars'] : []), ...(model.appliers > 1 ? ['Appliers'] : [])];
}

export function settingsText(model: Model): string {
  const sidecars = names('s', model.sidecars);
  const appliers = names('a', model.appliers);
  return `SPECIFICATION Spec
CONSTANTS
  ${[...sidecars, ...appliers].map((name) => `${name} = ${name}`).join('\n  ')}
  Sidecars = ${set(sidecars)}
  Appliers = ${set(appliers)}
  IsTagged = ${bool(model.isTagged)}
  HasStandby = ${bool(model.hasStandby)}
  MaxLsn = ${model.maxLsn}
  MaxRecords = ${model.maxRecords}
  MaxEpochs = ${model.maxEpochs ?? 1}
  MaxGenerations = ${model.maxGenerations ?? 1}
  HasLateSight = ${bool(model.hasLateSight)}
  HasIdleCommits = ${bool(model.hasIdleCommits)}
  CutsAnywhere = ${bool(model.cutsAnywhere)}
  Budget <- MCBudget
  Without <- MCWithout
  With <- MCWith
VIEW View
INVARIANTS ${(model.invariants ?? invariants).join(' ')}
${symmetric(model).length > 0 ? 'SYMMETRY MCSymmetry\n' : ''}`;
}
