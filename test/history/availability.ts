const slotMs = 100;

/**
 * How long sidecars answered nothing from the cache and let nobody fill it. Time is cut into tenths of a second; one of them
 * counts for a sidecar when some read failed, was bypassed or got no lease, and none was better.
 */
export class Availability {
  readonly #slots = new Map<string, Map<number, 'good' | 'bad'>>();

  /** @param good whether the read was a hit or got a lease. A bad one counts for as long as it took. */
  note(sidecar: string, read: { readonly fromMs: number; readonly toMs: number; readonly good: boolean }): void {
    let slots = this.#slots.get(sidecar);
    if (slots === undefined) this.#slots.set(sidecar, (slots = new Map()));
    const last = Math.floor(read.toMs / slotMs);
    if (read.good) slots.set(last, 'good');
    else for (let at = Math.floor(read.fromMs / slotMs); at <= last; at += 1) if (!slots.has(at)) slots.set(at, 'bad');
  }

  /** Of all sidecars together. */
  get unavailableSeconds(): number {
    let bad = 0;
    for (const slots of this.#slots.values()) for (const slot of slots.values()) if (slot === 'bad') bad += 1;
    return (bad * slotMs) / 1000;
  }
}
