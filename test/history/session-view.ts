import type { SeenRow } from './checker.ts';

/** How a session knows a version of a row. */
interface Known {
  readonly version: number;
  readonly known: 'seen' | 'written';
}

/** A row that a session was shown older than it had seen or written it. */
export interface WentBack extends SeenRow {
  readonly expectedVersion: number;
  readonly known: 'seen' | 'written';
}

/** What one user has seen and written, row by row: what comes later must not be older (SPEC I14). */
export class SessionView {
  readonly #known = new Map<string, Known>();
  /** The same without what was seen of a standby. */
  readonly #knownOfPrimary = new Map<string, Known>();

  /** Takes what a cache shows the user. Answers the first row that goes back, if there is one. */
  shown(rows: readonly SeenRow[]): WentBack | undefined {
    return this.#take(rows, this.#known);
  }

  /**
   * Takes what the user has loaded from the primary himself. While a commit waits for its standby, that standby shows it
   * and the primary does not: whoever goes from the one to the other goes back, and no cache can help it.
   */
  loaded(rows: readonly SeenRow[]): WentBack | undefined {
    return this.#take(rows, this.#knownOfPrimary);
  }

  /** Takes what the user has written, once that is acknowledged. */
  wrote(rows: readonly SeenRow[]): void {
    this.#learn(rows, 'written');
  }

  #take(rows: readonly SeenRow[], known: ReadonlyMap<string, Known>): WentBack | undefined {
    const back = rows.flatMap((row): WentBack[] => {
      const before = known.get(row.row);
      if (before === undefined || row.version >= before.version) return [];
      return [{ ...row, expectedVersion: before.version, known: before.known }];
    });
    this.#learn(rows, 'seen');
    return back[0];
  }

  #learn(rows: readonly SeenRow[], known: Known['known']): void {
    for (const { row, version, isOfStandby = false } of rows)
      for (const map of isOfStandby ? [this.#known] : [this.#known, this.#knownOfPrimary])
        if (version > (map.get(row)?.version ?? 0)) map.set(row, { version, known });
  }
}

export function describeWentBack(back: WentBack): string {
  const { row, version, timeline, expectedVersion, known } = back;
  const written = timeline === undefined ? '' : `, written on timeline ${timeline}`;
  return `was shown ${row} at version ${version}${written}, but had ${known} version ${expectedVersion} before`;
}
