import type { Totals } from './workload.ts';

/** What came of a run. */
export interface Report {
  readonly seed: number;
  readonly seconds: number;
  readonly operations: Totals & {
    /** Values served by a cache that were compared with what was committed. */
    readonly checked: number;
    /** Values served by a cache of which nobody knows under which timeline. */
    readonly unchecked: number;
    /** Reads with the token of a session, and reads that demanded the position of a write. */
    readonly sessionReads: number;
    readonly positionReads: number;
    /** Documents of the configuration that sidecars took, each counted for each sidecar. */
    readonly documents: number;
  };
  /** How often each kind of fault was caused. */
  readonly faults: Readonly<Record<string, number>>;
  readonly stale: number;
  readonly unavailableSeconds: number;
  /** From the end of a fault, or of the last of those that came together, until everything worked again. */
  readonly recoverSeconds: Readonly<Record<string, { readonly median: number; readonly max: number }>>;
  /** What must not be, each in some lines; empty when all is well. */
  readonly violations: readonly string[];
}

/** Counts what is added, by name. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  get counts(): Record<string, number> {
    return Object.fromEntries([...this.#counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
}

/** Median and maximum of what is added, by name. */
export class Samples {
  readonly #samples = new Map<string, number[]>();

  add(name: string, value: number): void {
    this.#samples.set(name, [...(this.#samples.get(name) ?? []), value]);
  }

  get summary(): Record<string, { median: number; max: number }> {
    const entries = [...this.#samples].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(
      entries.map(([name, samples]) => {
        const sorted = samples.toSorted((a, b) => a - b);
        return [name, { median: rounded(sorted[(sorted.length - 1) >> 1]), max: rounded(sorted.at(-1)) }];
      }),
    );
  }
}

function rounded(seconds = 0): number {
  return Math.round(seconds * 100) / 100;
}

/** The report as lines for a person. */
export function reportLines(report: Report): string[] {
  const { operations, faults, recoverSeconds, violations } = report;
  const { l1, l2, misses, unpromised, refused, unreachable, failedLoads, writes, purges, unknown, checked, unchecked } =
    operations;
  const { sessionReads, positionReads, documents } = operations;
  const all = l1 + l2 + misses + unpromised + refused + unreachable;
  const kinds = Object.entries(faults).map(([kind, count]) => {
    const recovery = recoverSeconds[kind];
    const times = recovery === undefined ? '' : `${recovery.median.toFixed(2)} s, at most ${recovery.max.toFixed(2)} s`;
    return `  ${kind.padEnd(24)} ${String(count).padStart(4)}   ${times}`;
  });
  return [
    ...violations.flatMap((violation) => ['', violation]),
    '',
    `seed ${report.seed}, ${report.seconds.toFixed(0)} s`,
    `operations: ${all + writes + purges + unknown} (${all} reads: ${l1} from memory, ${l2} from Redis, ${misses} misses, ${unpromised} without a promise, ${refused} without a lease, ${unreachable} unreachable, ${failedLoads} loads failed; ${writes} writes, ${purges} purges, ${unknown} of unknown outcome)`,
    `checked values: ${checked} (${unchecked} more under an unknown epoch)`,
    `reads of sessions: ${sessionReads}, and ${positionReads} that demanded a position`,
    `documents of the configuration that sidecars took: ${documents}`,
    `stale = ${report.stale}`,
    `unavailable: ${report.unavailableSeconds.toFixed(1)} s of all sidecars together`,
    'faults, how often, and until everything worked again:',
    ...kinds,
  ];
}
