/** A command without an answer. */
interface Sent {
  readonly atMs: number;
  readonly bytes: number;
  isOver: boolean;
}

/**
 * Counts commands without an answer and their bytes, and says when there are too many. One that is older than it can live is counted no
 * more: ioredis forgets what was under way when a connection ends, and never says how it ended.
 */
export class InFlight {
  readonly #limits: { readonly most: number; readonly mostBytes: number; readonly lifeMs: number };
  /** In the order in which they were sent. */
  #queue: Sent[] = [];
  #head = 0;
  #count = 0;
  #bytes = 0;

  constructor(limits: { readonly most: number; readonly mostBytes: number; readonly lifeMs: number }) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  /** Undefined when there are too many; else what to call once it is over. Amortized O(1). */
  enter(bytes: number, nowMs: number): (() => void) | undefined {
    this.#forget(nowMs);
    const { most, mostBytes } = this.#limits;
    if (this.#count >= most || this.#bytes + bytes > mostBytes) return undefined;
    const sent: Sent = { atMs: nowMs, bytes, isOver: false };
    this.#queue.push(sent);
    this.#count += 1;
    this.#bytes += bytes;
    return () => this.#end(sent);
  }

  #forget(nowMs: number): void {
    for (; this.#head < this.#queue.length; this.#head += 1) {
      const oldest = this.#queue[this.#head] as Sent;
      if (!oldest.isOver && nowMs - oldest.atMs <= this.#limits.lifeMs) break;
      this.#end(oldest);
    }
    if (this.#head < 1024 && this.#head < this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }

  #end(sent: Sent): void {
    if (sent.isOver) return;
    sent.isOver = true;
    this.#count -= 1;
    this.#bytes -= sent.bytes;
  }
}
