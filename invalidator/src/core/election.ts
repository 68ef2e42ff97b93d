import type { Clock, LeaseRecord, LeaseStore, StoredLease } from './ports.ts';

/** How an election is held. */
export interface ElectionTimes {
  /** How long others wait for a sign of life before they take over. */
  readonly durationMs: number;
  /** How long after its last renewal a leader is sure that it still is the only one. */
  readonly renewDeadlineMs: number;
  /** The pause between two attempts. */
  readonly retryMs: number;
}

/** What an attempt came to. A store that fails rejects instead. */
export type Attempt =
  /** The lease is ours, and was not before. */
  | 'acquired'
  | 'renewed'
  /** Somebody else has it. */
  | 'other'
  /** Somebody wrote at the same time: nothing is known until the next attempt. */
  | 'conflict';

/** Candidates wait for one to 2.2 pauses, leaders for exactly one, as client-go does (leaderelection.go, JitterFactor). */
export const JITTER = 1.2;

/**
 * What is wrong with the times, or undefined. A leader must be sure of its end before anybody takes over, and must have time
 * for a second attempt (client-go asks for the same).
 */
export function complaintAbout({ durationMs, renewDeadlineMs, retryMs }: ElectionTimes): string | undefined {
  if (durationMs <= renewDeadlineMs)
    return `the lease lasts ${durationMs} ms, expected more than the renew deadline of ${renewDeadlineMs} ms`;
  if (renewDeadlineMs <= retryMs * JITTER)
    return `the renew deadline is ${renewDeadlineMs} ms, expected more than ${JITTER} times the pause of ${retryMs} ms between attempts`;
  return undefined;
}

/**
 * One candidate's decisions: the algorithm of client-go's leaderelection over a Lease (coordination.k8s.io/v1), with three
 * differences. The time for which a leader is sure of itself counts from *before* its last renewal was sent, so that it does not
 * overlap with another's even when answers are late. A candidate that could not ask for a while lets the leader
 * renew first. And a lease that was deleted goes on counting its transitions where somebody remembers them.
 *
 * Clocks of other machines do not matter: a lease has run out when it did not change for its duration on the clock of
 * whoever looks. Clocks must only run equally fast, to within durationMs / renewDeadlineMs. What no lease can do is stop a
 * process that was paused in the middle of something: that is for Postgres, whose slot has one consumer.
 */
export class Election {
  readonly identity: string;
  readonly #times: ElectionTimes;
  readonly #clock: Clock;
  readonly #store: LeaseStore;
  readonly #random: () => number;
  #observed: { readonly lease: StoredLease; readonly atMs: number } | undefined;
  #sureUntilMs = Number.NEGATIVE_INFINITY;
  /** We have given it away, or tried to: what it may still say of us is over. */
  #gaveUp = false;
  /** The last attempt got no answer. */
  #wasBlind = false;
  /** The version for whose sake we have waited longer already. */
  #spared: string | undefined;

  /**
   * @param options.identity of this run of this process: one that starts again is another candidate
   * @param options.random from 0 to 1
   */
  constructor(options: {
    readonly identity: string;
    readonly times: ElectionTimes;
    readonly clock: Clock;
    readonly store: LeaseStore;
    readonly random: () => number;
  }) {
    this.identity = options.identity;
    this.#times = options.times;
    this.#clock = options.clock;
    this.#store = options.store;
    this.#random = options.random;
  }

  /** Whether the lease is ours as far as we know; after the renew deadline somebody else may have it. */
  get isLeader(): boolean {
    return !this.#gaveUp && this.#observed?.lease.record.holder === this.identity;
  }

  /** Whether nobody else can have it at this moment: our renewal is younger than the renew deadline. */
  get isSure(): boolean {
    return this.isLeader && this.#clock.monotonicMs() < this.#sureUntilMs;
  }

  /** How often the lease has changed hands: it tells leaders one after the other. */
  get term(): number {
    return this.#observed?.lease.record.transitions ?? 0;
  }

  /** Whoever had the lease when we looked last; '' for nobody. */
  get holder(): string {
    return this.#observed?.lease.record.holder ?? '';
  }

  /** Takes note of a lease that was seen. */
  observe(lease: StoredLease): void {
    // The version changes with each renewal, even if the holder's clock stands still.
    if (lease.version !== this.#observed?.lease.version) this.#observed = { lease, atMs: this.#clock.monotonicMs() };
  }

  /** Takes the lease if it is free or has run out, or renews it. Rejects when the store does; not to be called again before. */
  async attempt(): Promise<Attempt> {
    try {
      const outcome = await this.#attempt();
      this.#wasBlind = false;
      return outcome;
    } catch (error) {
      this.#wasBlind = true;
      throw error;
    }
  }

  async #attempt(): Promise<Attempt> {
    const known = this.#observed;
    if (known !== undefined && this.isLeader && !this.#hasRunOut(known)) {
      // Nobody has written since, most likely: one request instead of two.
      const outcome = await this.#write('renewed', known.lease);
      if (outcome !== 'conflict') return outcome;
    }
    const found = await this.#store.read();
    if (found === undefined) return this.#write('acquired', undefined);
    this.observe(found);
    this.#spare(found);
    const { record } = found;
    if (this.isLeader) return this.#write('renewed', found);
    const isOthers = record.holder !== '' && record.holder !== this.identity;
    if (isOthers && this.#observed !== undefined && !this.#hasRunOut(this.#observed)) return 'other';
    return this.#write('acquired', found);
  }

  /** How long to wait before the next attempt, given what the last one came to. */
  pauseMs(last: Attempt | 'failed'): number {
    const { retryMs } = this.#times;
    if (this.isLeader) return retryMs;
    const jitteredMs = retryMs * (1 + JITTER * this.#random());
    // Whoever has died is replaced when its time is over, not at the next attempt after that.
    return last === 'other' ? Math.min(jitteredMs, Math.max(1, Math.ceil(this.#leftMs()))) : jitteredMs;
  }

  /**
   * Gives the lease away, so that another one need not wait. Rejects when the store does; even so this term is over, and
   * another attempt begins another one.
   */
  async release(): Promise<void> {
    if (!this.isLeader) return;
    this.#gaveUp = true;
    for (let attempt = 1; attempt <= 2; attempt++) {
      if (this.#observed === undefined || this.holder !== this.identity) return;
      const { record, version } = this.#observed.lease;
      const nowMs = this.#clock.wallMs();
      // A second is the least that the API takes; without a holder nobody waits for it.
      const free = { ...record, holder: '', durationS: 1, acquiredAtMs: nowMs, renewedAtMs: nowMs };
      const written = await this.#store.update(free, version);
      const found = written === 'conflict' ? await this.#store.read() : written;
      if (found === undefined) return;
      this.observe(found);
    }
  }

  /**
   * A server that was away for us may have been away for the leader too. So when it is back the leader gets the time to say
   * that it lives; once for each sign of life, so that a dead one is replaced also by a server that comes and goes.
   */
  #spare(found: StoredLease): void {
    if (!this.#wasBlind || this.#observed === undefined || found.version === this.#spared) return;
    this.#spared = found.version;
    const { renewDeadlineMs } = this.#times;
    const sparedMs = this.#clock.monotonicMs() - found.record.durationS * 1000 + renewDeadlineMs;
    this.#observed = { lease: found, atMs: Math.max(this.#observed.atMs, sparedMs) };
  }

  async #write(kind: 'acquired' | 'renewed', over: StoredLease | undefined): Promise<Attempt> {
    const wallMs = this.#clock.wallMs();
    const isOurs = kind === 'renewed' && over !== undefined;
    const record: LeaseRecord = {
      holder: this.identity,
      // Whole seconds are all that a Lease can say; others must not wait for less than we rely on.
      durationS: Math.ceil(this.#times.durationMs / 1000),
      acquiredAtMs: isOurs ? over.record.acquiredAtMs : wallMs,
      renewedAtMs: wallMs,
      transitions: isOurs ? over.record.transitions : this.#nextTerm(over),
    };
    const sentAtMs = this.#clock.monotonicMs();
    const written =
      over === undefined ? await this.#store.create(record) : await this.#store.update(record, over.version);
    if (written === 'conflict') return 'conflict';
    this.#observed = { lease: written, atMs: this.#clock.monotonicMs() };
    this.#gaveUp = false;
    this.#sureUntilMs = sentAtMs + this.#times.renewDeadlineMs;
    return kind;
  }

  /** A lease that nobody ever had begins with 0. */
  #nextTerm(over: StoredLease | undefined): number {
    const last = over ?? this.#observed?.lease;
    if (last === undefined) return 0;
    const isUnused = last.record.holder === '' && last.record.transitions === 0 && last.record.renewedAtMs === 0;
    return isUnused ? 0 : last.record.transitions + 1;
  }

  #hasRunOut({ lease, atMs }: { readonly lease: StoredLease; readonly atMs: number }): boolean {
    return atMs + lease.record.durationS * 1000 <= this.#clock.monotonicMs();
  }

  #leftMs(): number {
    if (this.#observed === undefined) return 0;
    const { lease, atMs } = this.#observed;
    return atMs + lease.record.durationS * 1000 - this.#clock.monotonicMs();
  }
}
