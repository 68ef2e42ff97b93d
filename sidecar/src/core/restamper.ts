import type { Entry, Lsn } from '@tidemark/proto';
import type { Coalescer } from './coalescer.ts';
import type { Namespace } from './namespace.ts';
import type { Clock, L2FillResult, L2Store } from './ports.ts';
import type { ReplicaView } from './replica.ts';
import { Turns } from './turns.ts';

/** Entries of each namespace that are looked at once a second, and how many in all are sent. */
const LOOKED_AT = 1024;
const MAX_SENT = 32;
const MAX_IN_FLIGHT = 64;
/** Larger ones cost more to send than to load again some day. */
const MAX_BODY_BYTES = 64 * 1024;
const AGING_AFTER_MS = 60_000;

/**
 * Keeps what is used in reach of sidecars that start later, where the backend has no fence log (SPEC I12, I17). A sidecar can check
 * an entry only from the position on at which it began to listen. What stands in L1 is valid at W, so what is used most there is
 * stored again as of W about once a minute, and as of that minute the next sidecar can use it. Nobody waits for it.
 */
export class Restamper {
  readonly results = new Map<L2FillResult, number>();
  readonly #l2: L2Store;
  readonly #coalescer: Coalescer;
  readonly #replica: ReplicaView;
  readonly #clock: Clock;
  readonly #turns = new Turns();
  /** W once a second, oldest first; the first of them is the newest that is old enough. */
  #history: { readonly epoch: number; readonly applied: Lsn; readonly atMs: number }[] = [];
  #inFlight = 0;

  constructor(options: { l2: L2Store; coalescer: Coalescer; replica: ReplicaView; clock: Clock }) {
    this.#l2 = options.l2;
    this.#coalescer = options.coalescer;
    this.#replica = options.replica;
    this.#clock = options.clock;
  }

  /** To be called once a second. O(entries looked at). */
  sweep(namespaces: Iterable<Namespace>): void {
    const agingBelow = this.#agingBelow();
    if (agingBelow === undefined || !this.#l2.available) return;
    let left = MAX_SENT;
    for (const namespace of this.#turns.of(namespaces)) {
      if (namespace.rules === undefined || !namespace.config.l2.enabled) continue;
      if (this.#coalescer.bypass(namespace) !== undefined) continue;
      for (const [key, entry] of [...namespace.l1.recent(LOOKED_AT)]) {
        if (left === 0 || this.#inFlight >= MAX_IN_FLIGHT) return;
        if (entry.asOf >= agingBelow || entry.body.length > MAX_BODY_BYTES) continue;
        if (entry.expiresAtMs <= this.#clock.wallMs()) continue;
        left -= 1;
        this.#send(namespace, key, entry);
      }
    }
  }

  /** The position that was applied a minute ago; undefined while there was none. */
  #agingBelow(): Lsn | undefined {
    const { epoch, applied } = this.#replica;
    const atMs = this.#clock.monotonicMs();
    this.#history.push({ epoch, applied, atMs });
    const firstYoung = this.#history.findIndex((one) => atMs - one.atMs < AGING_AFTER_MS);
    if (firstYoung > 1) this.#history.splice(0, firstYoung - 1);
    const [oldest] = this.#history;
    return oldest !== undefined && oldest.epoch === epoch && atMs - oldest.atMs >= AGING_AFTER_MS
      ? oldest.applied
      : undefined;
  }

  #send(namespace: Namespace, key: string, entry: Entry): void {
    const { rules, l1 } = namespace;
    if (rules === undefined) return;
    const fresh = { ...entry, asOf: this.#replica.applied };
    // Here too, so that it is not looked at again before another minute has passed.
    l1.restate(key, { before: entry, after: fresh });
    this.#inFlight += 1;
    void this.#l2.fill(rules, key, fresh).then((result) => {
      this.#inFlight -= 1;
      this.results.set(result, (this.results.get(result) ?? 0) + 1);
    });
  }
}
