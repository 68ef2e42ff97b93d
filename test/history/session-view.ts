import type { SeenRow } from './checker.ts';

/** A row that a session was shown older than it had seen or written it. */
export interface WentBack extends SeenRow {
  readonly expectedVersion: number;
  /** How the session knows that version. */
  readonly known: 'seen' | 'written';
}

/** What one user has seen and written, row by row: what comes later must not be older (SPEC I14). */
export class SessionView {
  readonly #known = new Map<string, { readonly version: number; readonly known: 'seen' | 'written' }>();

  /** Takes what the user is shown. Answers the first row that goes back, if there is one. */
  shown(rows: readonly SeenRow[]): WentBack | undefined {
    const back = rows.flatMap((row): WentBack[] => {
      const before = this.#known.get(row.row);
      if (before === undefined || row.version >= before.version) return [];
      return [{ ...row, expectedVersion: before.version, known: before.known }];
    });
    this.#learn(rows, 'seen');
    return back[0];
  }

  /** Takes what the user has written, once that is acknowledged. */
  wrote(rows: readonly SeenRow[]): void {
    this.#learn(rows, 'written');
  }

  #learn(rows: readonly SeenRow[], known: 'seen' | 'written'): void {
    for (const { row, version } of rows)
      if (version > (this.#known.get(row)?.version ?? 0)) this.#known.set(row, { version, known });
  }
}

export function describeWentBack(back: WentBack): string {
  const { row, version, expectedVersion, known } = back;
  return `was shown ${row} at version ${version}, but had ${known} version ${expectedVersion} before`;
}
