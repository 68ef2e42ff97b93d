import type { Entry } from '@tidemark/proto';
import type { LogHeader } from '@tidemark/proto/redis';
import type { Coalescer } from './coalescer.ts';
import type { Namespace } from './namespace.ts';
import type { Clock, L2FillResult, L2Found, L2Store } from './ports.ts';
import type { ReplicaView } from './replica.ts';
import { Turns } from './turns.ts';

/** So many a second, and so many under way; others are looked at again when they are read again. */
const MAX_PER_SECOND = 200;
const MAX_IN_FLIGHT = 16;
/** Entries of each namespace that are looked at once a second, and how many of those are sent. */
const SWEPT = 256;
const MAX_SENT_PER_SWEEP = 16;
/** Larger ones cost more to check and to send than to load again some day. */
const MAX_BYTES = 64 * 1024;

/**
 * Keeps what is used in reach of the fence log (SPEC I12). A log remembers a bounded number of fences, and a tagged entry from
 * before the oldest of them cannot be checked any more: it would be a miss although nothing has changed. So an entry in the older
 * half of what the log remembers takes the position up to which it was checked. Entries without tags need that not, because
 * fences on keys delete. Nobody waits for any of it.
 */
export class Promoter {
  readonly results = new Map<`${'read' | 'held'}:${L2FillResult}`, number>();
  readonly #l2: L2Store;
  readonly #coalescer: Coalescer;
  readonly #replica: ReplicaView;
  readonly #clock: Clock;
  readonly #turns = new Turns();
  #inFlight = 0;
  #secondMs = Number.NEGATIVE_INFINITY;
  #sent = 0;

  constructor(options: { l2: L2Store; coalescer: Coalescer; replica: ReplicaView; clock: Clock }) {
    this.#l2 = options.l2;
    this.#coalescer = options.coalescer;
    this.#replica = options.replica;
    this.#clock = options.clock;
  }

  /** An entry was read from Redis, may be served, and stands in L1 now. */
  wasRead(namespace: Namespace, key: string, { found, log }: { found: L2Found; log: LogHeader }): void {
    const { rules } = namespace;
    const { entry, stored = entry?.body } = found;
    if (rules === undefined || entry === undefined || stored === undefined) return;
    if (!isAging(entry, log) || entry.asOf < log.tagFrom || !this.#mayBegin(stored)) return;
    void this.#l2.promote(rules, key, found, log.to).then((result) => {
      this.#inFlight -= 1;
      this.#count(`read:${result}`);
      // It was checked up to there, so it may say so here too; unless it has gone meanwhile.
      if (result === 'ok') namespace.l1.restate(key, { before: entry, after: { ...entry, asOf: log.to } });
    });
  }

  /**
   * Shares entries again that are used from L1 only, so that nobody reads them in Redis while they fall behind there. What is in L1
   * is valid at W. To be called once a second, with a header that was just read. O(entries looked at).
   */
  sweep(namespaces: Iterable<Namespace>, log: LogHeader): void {
    let left = MAX_SENT_PER_SWEEP;
    for (const namespace of this.#turns.of(namespaces)) {
      if (left === 0) return;
      const { rules, l1, config } = namespace;
      if (rules === undefined || !config.l2.enabled || this.#coalescer.bypass(namespace) !== undefined) continue;
      if (log.epoch !== this.#replica.epoch) continue;
      for (const [key, entry] of [...l1.recent(SWEPT)]) {
        if (!isAging(entry, log) || entry.expiresAtMs <= this.#clock.wallMs() || !this.#mayShare(entry, left)) continue;
        left -= 1;
        const fresh = { ...entry, asOf: this.#replica.applied };
        l1.restate(key, { before: entry, after: fresh });
        void this.#l2.fill(rules, key, fresh).then((result) => {
          this.#inFlight -= 1;
          this.#count(`held:${result}`);
        });
      }
    }
  }

  #mayShare(entry: Entry, left: number): boolean {
    return left > 0 && entry.asOf < this.#replica.applied && this.#mayBegin(entry.body);
  }

  #mayBegin(bytes: Uint8Array): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#secondMs >= 1000) {
      this.#secondMs = nowMs;
      this.#sent = 0;
    }
    if (!this.#l2.available || this.#inFlight >= MAX_IN_FLIGHT || this.#sent >= MAX_PER_SECOND) return false;
    if (bytes.length > MAX_BYTES) return false;
    this.#inFlight += 1;
    this.#sent += 1;
    return true;
  }

  #count(result: `${'read' | 'held'}:${L2FillResult}`): void {
    this.results.set(result, (this.results.get(result) ?? 0) + 1);
  }
}

/** Whether an entry stands in the older half of what the log remembers of tags, or before it. */
function isAging({ tags, asOf }: Entry, { tagFrom, to }: LogHeader): boolean {
  return tags.length > 0 && asOf < tagFrom + (to - tagFrom) / 2;
}
