/** What a sidecar said of its epoch. Times by `performance.now`. */
interface Said {
  readonly epoch: number;
  readonly askedAtMs: number;
  readonly answeredAtMs: number;
}

/** An answer with a value. */
interface Answer {
  readonly sentAtMs: number;
  readonly receivedAtMs: number;
  /** The watermark under which the value was served. */
  readonly lsn: number;
  /** Called with undefined where it cannot be known. */
  readonly settle: (timeline: number | undefined) => void;
}

interface Epoch {
  /** Its timelines, and the end of the record with which each begins. */
  readonly timelines: { readonly timeline: number; readonly from: number }[];
  /** The end of its newest record. */
  newest: number;
}

const maxHeld = 20_000;

/**
 * Under which timeline a sidecar served a value. An answer names its watermark, but not its epoch; a sidecar's epoch only
 * grows, though, so what was asked for after a sidecar was seen in an epoch, and came before it was seen there again, was
 * served under it. Which positions of an epoch belong to which timeline, its records say: an epoch may go on over a promotion.
 */
export class Epochs {
  readonly #epochs = new Map<number, Epoch>();
  #latest = 0;
  /** The newest epoch of each sidecar, and when it was first said. */
  readonly #said = new Map<string, { readonly epoch: number; readonly sinceMs: number }>();
  readonly #held = new Map<string, Answer[]>();
  /** Their epoch is known, but the record of their watermark was not read yet. */
  #ahead: { readonly epoch: number; readonly answer: Answer }[] = [];

  /**
   * Takes what a record of the stream says; in its order.
   * @param record.purges whether it purges everything: where an epoch goes on over a promotion, what was cached of undone
   * commits is given up with the first such record of the new timeline (SPEC I10), and not before
   */
  record(record: Readonly<{ epoch: number; timeline: number; to: number; purges: boolean }>): void {
    const { epoch, timeline, to, purges } = record;
    const known: Epoch = this.#epochs.get(epoch) ?? { timelines: [], newest: to };
    this.#epochs.set(epoch, known);
    const newest = known.timelines.at(-1)?.timeline;
    if (newest === undefined || (newest < timeline && purges)) known.timelines.push({ timeline, from: to });
    known.newest = Math.max(known.newest, to);
    this.#latest = Math.max(this.#latest, epoch);
    for (const ahead of this.#ahead.splice(0)) this.#settle(ahead.epoch, ahead.answer);
  }

  /** Takes what a sidecar says of itself. */
  said(sidecar: string, { epoch, askedAtMs, answeredAtMs }: Said): void {
    const known = this.#said.get(sidecar);
    const sinceMs = known?.epoch === epoch ? known.sinceMs : answeredAtMs;
    this.#said.set(sidecar, { epoch, sinceMs });
    const later: Answer[] = [];
    for (const answer of this.#held.get(sidecar) ?? []) {
      if (answer.receivedAtMs > askedAtMs) later.push(answer);
      else if (answer.sentAtMs >= sinceMs) this.#settle(epoch, answer);
      else answer.settle(undefined);
    }
    this.#held.set(sidecar, later);
  }

  /** Calls the answer's `settle` as soon as its timeline is known, or cannot become known any more. */
  hold(sidecar: string, answer: Answer): void {
    const all = this.#held.get(sidecar) ?? [];
    all.push(answer);
    if (all.length > maxHeld) all.shift()?.settle(undefined);
    this.#held.set(sidecar, all);
  }

  /** Nothing more will be said. */
  finish(): void {
    for (const answers of this.#held.values()) for (const { settle } of answers.splice(0)) settle(undefined);
    for (const { answer } of this.#ahead.splice(0)) answer.settle(undefined);
  }

  #settle(epoch: number, answer: Answer): void {
    const known = this.#epochs.get(epoch);
    if (known === undefined ? epoch > this.#latest : known.newest < answer.lsn && epoch === this.#latest)
      this.#ahead.push({ epoch, answer });
    else answer.settle(known?.timelines.findLast(({ from }) => from <= answer.lsn)?.timeline);
  }
}
