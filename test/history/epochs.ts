/** When a sidecar was asked for its epoch, and what it said. Times by `performance.now`. */
interface Said {
  readonly epoch: number;
  readonly askedAtMs: number;
  readonly answeredAtMs: number;
}

interface Held {
  readonly sentAtMs: number;
  readonly receivedAtMs: number;
  readonly settle: (timeline: number | undefined) => void;
}

const maxHeld = 20_000;

/**
 * Under which timeline a sidecar served a value. An answer does not name its epoch; but a sidecar's epoch only grows, so
 * what came between two looks that saw the same epoch was served under it. Which timeline an epoch counts on, its records
 * say. An epoch that goes on over a promotion counts on the new timeline, to which everything of it belongs.
 */
export class Epochs {
  readonly #timelines = new Map<number, number>();
  /** The newest epoch of each sidecar, and when it was first said. */
  readonly #newest = new Map<string, { readonly epoch: number; readonly sinceMs: number }>();
  readonly #held = new Map<string, Held[]>();
  readonly #waitingForTimeline: { readonly epoch: number; readonly settle: Held['settle'] }[] = [];

  /** Takes what a record of the stream says. */
  record(epoch: number, timeline: number): void {
    const known = this.#timelines.get(epoch);
    if (known !== undefined && known >= timeline) return;
    this.#timelines.set(epoch, timeline);
    for (const waiting of this.#waitingForTimeline.splice(0)) this.#settle(waiting.epoch, waiting.settle);
  }

  /** Takes what a sidecar says of itself. */
  said(sidecar: string, { epoch, askedAtMs, answeredAtMs }: Said): void {
    const known = this.#newest.get(sidecar);
    const sinceMs = known?.epoch === epoch ? known.sinceMs : answeredAtMs;
    this.#newest.set(sidecar, { epoch, sinceMs });
    const later: Held[] = [];
    for (const value of this.#held.get(sidecar) ?? []) {
      if (value.receivedAtMs > askedAtMs) later.push(value);
      else if (value.sentAtMs >= sinceMs) this.#settle(epoch, value.settle);
      else value.settle(undefined);
    }
    this.#held.set(sidecar, later);
  }

  /** Calls back once the timeline of an answer is known; with undefined where it cannot be. */
  hold(sidecar: string, held: Held): void {
    const all = this.#held.get(sidecar) ?? [];
    all.push(held);
    if (all.length > maxHeld) all.shift()?.settle(undefined);
    this.#held.set(sidecar, all);
  }

  /** Nothing more will be said. */
  finish(): void {
    for (const held of this.#held.values()) for (const { settle } of held.splice(0)) settle(undefined);
    for (const { settle } of this.#waitingForTimeline.splice(0)) settle(undefined);
  }

  #settle(epoch: number, settle: Held['settle']): void {
    const timeline = this.#timelines.get(epoch);
    if (timeline === undefined) this.#waitingForTimeline.push({ epoch, settle });
    else settle(timeline);
  }
}
