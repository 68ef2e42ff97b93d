import type { Entry, Lsn } from '@tidemark/proto';
import type { Coalescer } from './coalescer.ts';
import { decideFill } from './decide.ts';
import { timesOf, type Lifetime } from './freshness.ts';
import type { FlightLoad } from './flights.ts';
import type { Lease, Leases } from './leases.ts';
import type { Namespace } from './namespace.ts';
import { withOwnMemory } from './own-memory.ts';
import type { Clock, L2FillResult, L2Store, Random } from './ports.ts';
import type { ReplicaView } from './replica.ts';

/** A value that was loaded. Its lifetime shortens the namespace's, never lengthens it. */
export interface Fill extends Lifetime {
  readonly namespace: Namespace;
  readonly key: string;
  /** Of the miss that the fill answers; ignored where the namespace opted out of coherence. */
  readonly token: string | undefined;
  /** Replay position of the standby that was read, taken before the read. */
  readonly sourceLsn?: Lsn | undefined;
  /** Position of the server that was read, taken after the read: the value shows nothing that was committed later. */
  readonly loadedAt?: Lsn | undefined;
  /** How long the sidecar took to load it; undefined for a value that a caller loaded. */
  readonly loadMs?: number | undefined;
  /** Which load of whose that was. */
  readonly by?: FlightLoad | undefined;
  readonly tags: readonly string[];
  readonly absent: boolean;
  readonly contentType: string;
  readonly etag: string;
  /** Nobody changes it from now on. */
  readonly body: Uint8Array;
}

/** `no-lease`: none was named. `expired`: unknown or too old. `mismatch`: it is for another key. */
export type FillRefusal = 'no-lease' | 'expired' | 'mismatch' | 'fenced';

export type FillOutcome =
  | {
      readonly kind: 'stored';
      readonly entry: Entry;
      /** False when it replaced one. */
      readonly created: boolean;
      /** Settles once Redis has answered or its deadline has passed; undefined where it is not asked. */
      readonly shared: Promise<L2FillResult> | undefined;
    }
  | { readonly kind: 'refused'; readonly why: FillRefusal };

/** Stores what callers loaded, if nothing that was applied could be missing in it (SPEC I5). */
export class Filler {
  readonly #replica: ReplicaView;
  readonly #leases: Leases;
  readonly #coalescer: Coalescer;
  readonly #l2: L2Store | undefined;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(options: {
    replica: ReplicaView;
    leases: Leases;
    coalescer: Coalescer;
    l2: L2Store | undefined;
    clock: Clock;
    random: Random;
  }) {
    this.#replica = options.replica;
    this.#leases = options.leases;
    this.#coalescer = options.coalescer;
    this.#l2 = options.l2;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** {@link offer}; whoever waits for a fill that was refused is let loose. */
  fill(fill: Fill): FillOutcome {
    const outcome = this.offer(fill);
    if (outcome.kind === 'refused' && fill.token !== undefined)
      this.#coalescer.refused(fill.namespace, fill.key, fill.token);
    return outcome;
  }

  /** Synchronous, so that no record can be applied between the check and the store. */
  offer(offered: Fill): FillOutcome {
    const { namespace, key } = offered;
    const fill = { ...offered, tags: namespace.tagsOf(key, offered.tags) };
    const { rules, counters } = namespace;
    if (rules === undefined) return this.#store(fill, NOWHERE);
    if (fill.token === undefined) return { kind: 'refused', why: 'no-lease' };
    const lease = this.#leases.take(fill.token, this.#clock.monotonicMs());
    if (lease === undefined) {
      counters.refusedExpired += 1;
      return { kind: 'refused', why: 'expired' };
    }
    const verdict = decideFill(this.#replica, {
      lease,
      namespace: rules,
      key,
      tags: fill.tags,
      sourceLsn: fill.sourceLsn,
    });
    if (verdict.ok)
      return this.#store(fill, { asOf: verdict.asOf, epoch: lease.epoch, loadMs: this.#loadMs(fill, lease) });
    if (verdict.why === 'fenced') counters.refusedFenced += 1;
    else counters.refusedMismatch += 1;
    return { kind: 'refused', why: verdict.why === 'fenced' ? 'fenced' : 'mismatch' };
  }

  /** A value as an entry, whether it may be stored or not. */
  entryOf(fill: Fill, at: Pick<Lease, 'asOf' | 'epoch'>): Entry {
    const { namespace, tags, absent, contentType, etag } = fill;
    const body = withOwnMemory(fill.body);
    const storedAtMs = this.#clock.wallMs();
    const fraction = this.#random.fraction();
    const times = timesOf(namespace.config.ttl, { absent, said: fill, storedAtMs, fraction });
    const loadedAt = fill.loadedAt === undefined ? undefined : Math.max(fill.loadedAt, at.asOf);
    const { asOf, epoch } = at;
    return { asOf, epoch, ...times, loadMs: fill.loadMs ?? 0, absent, contentType, etag, tags, body, loadedAt };
  }

  /**
   * Stores the value of a write of our own, which is admitted (SPEC I18), in place of whatever is there; not for other sidecars yet.
   * Undefined where it is not stored.
   */
  written(fill: Fill, at: Pick<Lease, 'asOf' | 'epoch'>): Entry | undefined {
    const { namespace, key, maxAgeMs } = fill;
    const entry = this.entryOf(fill, at);
    const isStored = maxAgeMs !== 0 && namespace.l1.set(key, entry);
    if (isStored) namespace.grace?.delete(key);
    this.#coalescer.stored(namespace, key, { entry, from: isStored ? 'coalesced' : 'passed' });
    return isStored ? entry : undefined;
  }

  /** Gives other sidecars an entry that is in L1. Settles once L2 has answered or its deadline has passed. */
  share(namespace: Namespace, key: string, entry: Entry): Promise<L2FillResult> | undefined {
    if (!namespace.config.l2.enabled || this.#l2?.available !== true) return undefined;
    return this.#share(this.#l2, namespace, key, entry);
  }

  /** A lease that nobody will use: its load has failed. */
  forget({ token }: Lease): void {
    this.#leases.take(token, this.#clock.monotonicMs());
  }

  /** The caller says that what it loaded may not be stored: whoever waits for it should not. */
  abandon(namespace: Namespace, key: string, token: string): void {
    this.#leases.take(token, this.#clock.monotonicMs());
    this.#coalescer.refused(namespace, key, token);
  }

  /**
   * Removes an entry here and in L2, where no purge through the WAL could: other sidecars keep theirs until its TTL. False where L2 did
   * not say that it is gone there.
   */
  async drop(namespace: Namespace, key: string): Promise<boolean> {
    namespace.l1.delete(key);
    for (const tag of namespace.tagsOf(key, [])) namespace.l1.deleteTag(tag);
    if (!namespace.config.l2.enabled || this.#l2 === undefined) return true;
    return this.#l2.available && (await this.#l2.deletePlain(namespace.name, key)) === 'ok';
  }

  #loadMs(fill: Fill, { grantedAtMs }: Lease): number {
    return fill.loadMs ?? Math.round(this.#clock.monotonicMs() - grantedAtMs);
  }

  #store(fill: Fill, at: { asOf: Lsn; epoch: number; loadMs: number }): FillOutcome {
    const { namespace, key, by } = fill;
    const { l2 } = namespace.config;
    const entry = this.entryOf({ ...fill, loadMs: at.loadMs }, at);
    const from = fill.loadMs === undefined ? 'coalesced' : 'loaded';
    const present = namespace.l1.get(key);
    const created = present === undefined || present.expiresAtMs <= entry.storedAtMs;
    if (fill.maxAgeMs === 0) {
      this.#coalescer.stored(namespace, key, { entry, from: 'passed', by });
      return { kind: 'stored', entry, created, shared: undefined };
    }
    namespace.counters.fills += 1;
    // The value that is there was read later: to go back would be no lie, but a surprise.
    if (!created && present.asOf > entry.asOf) {
      this.#coalescer.stored(namespace, key, { entry: present, from, by });
      return { kind: 'stored', entry: present, created, shared: undefined };
    }
    namespace.l1.set(key, entry);
    namespace.grace?.delete(key);
    const shared =
      l2.enabled && this.#l2?.available === true ? this.#share(this.#l2, namespace, key, entry) : undefined;
    this.#coalescer.stored(namespace, key, { entry, from, by, shared });
    return { kind: 'stored', entry, created, shared };
  }

  #share(l2: L2Store, namespace: Namespace, key: string, entry: Entry): Promise<L2FillResult> {
    return namespace.rules === undefined
      ? l2.writePlain(namespace.name, key, entry)
      : l2.fill(namespace.rules, key, entry);
  }
}

/** Where a value without positions belongs. */
const NOWHERE = { asOf: 0, epoch: 0, loadMs: 0 } as const;
