const kept = 40;

/** The newest things that happened to each row and, under the empty name, to everything: what a violation is shown with. */
export class Journal {
  readonly #startMs: number;
  readonly #events = new Map<string, { readonly atMs: number; readonly text: string }[]>();

  constructor(nowMs: number) {
    this.#startMs = nowMs;
  }

  note(row: string, atMs: number, text: string): void {
    let events = this.#events.get(row);
    if (events === undefined) this.#events.set(row, (events = []));
    events.push({ atMs, text });
    if (events.length > kept) events.shift();
  }

  /** What happened to a row and to everything, in order, with the seconds since the start. */
  about(row: string): string[] {
    const events = [...(this.#events.get(row) ?? []), ...(this.#events.get('') ?? [])];
    return events
      .toSorted((a, b) => a.atMs - b.atMs)
      .map(({ atMs, text }) => `${((atMs - this.#startMs) / 1000).toFixed(3).padStart(9)} s  ${text}`);
  }
}
