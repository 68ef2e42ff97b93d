/** How long each namespace has been unknown that writes were written to: the document that has it may only be late. */
export class Patience {
  readonly #patienceMs: number;
  readonly #sinceMs = new Map<string, number>();

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  /** @param missing those that are unknown now; the others are forgotten. */
  isOver(missing: ReadonlySet<string>, nowMs: number): boolean {
    for (const name of this.#sinceMs.keys()) if (!missing.has(name)) this.#sinceMs.delete(name);
    for (const name of missing) if (!this.#sinceMs.has(name)) this.#sinceMs.set(name, nowMs);
    return [...this.#sinceMs.values()].every((sinceMs) => nowMs - sinceMs >= this.#patienceMs);
  }
}
