import { Election, type Attempt, type ElectionTimes } from './election.ts';
import type { Clock, LeaseStore, StoredLease } from './ports.ts';

/** What a leader knows of its leadership. */
export interface Leadership {
  /** Transitions of the lease: whoever leads later has a greater one. */
  readonly term: number;
  /**
   * Whether nobody else can be leader at this moment. A leader whom the API server does not answer goes on without being
   * sure: then it may do what Postgres or Kafka arbitrate, and nothing else.
   */
  isSure(): boolean;
}

/** What the loop tells of. */
export interface LeaderEvents {
  readonly onLeading: (term: number) => void;
  /** Waiting for somebody else; told again when that is another one. */
  readonly onFollowing: (holder: string) => void;
  /** The leader goes on, but is not sure of the lease any more, or is sure again. */
  readonly onSure: (isSure: boolean) => void;
  /** The work ended by itself: the lease goes to another one, if there is one. */
  readonly onYield: () => void;
  readonly onAttempt: (outcome: Attempt | 'failed', error?: Error) => void;
}

export interface LeaderLoopOptions {
  readonly identity: string;
  readonly times: ElectionTimes;
  readonly store: LeaseStore;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly events: LeaderEvents;
  /**
   * Does what only the leader does, until it is stopped. When it rejects, the loop ends with that; when it resolves before, it
   * could not be done here, and others are let go first.
   */
  readonly lead: (leadership: Leadership, stop: AbortSignal) => Promise<void>;
  readonly stop: AbortSignal;
}

/**
 * Leads while it has the lease, and waits for it otherwise, until it is stopped: then the work ends first and the lease is
 * given away after that, so that the next one finds everything free. Rejects with what {@link LeaderLoopOptions.lead} rejects with.
 */
export async function leadByLease(options: LeaderLoopOptions): Promise<void> {
  await new LeaderLoop(options).run();
}

/** Longest wait for the lease to be given away; another one takes it over anyway, only later. */
const RELEASE_MS = 2000;

/** How long others are let go first, in pauses between attempts; they look after 2.2 of them at the latest. */
const YIELD_PAUSES = 2.5;

/** The work of one term. */
interface Work {
  readonly term: number;
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

class LeaderLoop {
  readonly #options: LeaderLoopOptions;
  readonly #election: Election;
  #work: Work | undefined;
  #failure: { readonly error: unknown } | undefined;
  #isAttempting = false;
  /** Seen while an attempt was under way. */
  #seen: StoredLease | undefined;
  #toldHolder: string | undefined;
  #toldSure = true;
  #yields = false;
  #isResting = false;
  #isWoken = false;
  #endPause: () => void = () => undefined;

  constructor(options: LeaderLoopOptions) {
    this.#options = options;
    this.#election = new Election(options);
  }

  async run(): Promise<void> {
    const { store, stop } = this.#options;
    const unwatch = new AbortController();
    const watching = store.watch((lease) => this.#onChange(lease), unwatch.signal);
    const onStop = (): void => {
      this.#work?.stop.abort();
      this.#wake();
    };
    stop.addEventListener('abort', onStop);
    try {
      // A lease is kept for as long as the work needs to end.
      while (this.#failure === undefined && (!stop.aborted || this.#work !== undefined)) await this.#step();
      this.#work?.stop.abort();
      await this.#work?.done;
      await this.#release();
    } finally {
      stop.removeEventListener('abort', onStop);
      unwatch.abort();
      await watching;
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #step(): Promise<void> {
    if (this.#yields) return this.#yield();
    const last = await this.#attempt();
    this.#follow(last);
    await this.#pause(this.#election.pauseMs(last));
    this.#tellWhetherSure();
  }

  async #attempt(): Promise<Attempt | 'failed'> {
    const { events, stop } = this.#options;
    // Only the end of the work is waited for.
    if (stop.aborted && !this.#election.isLeader) return 'failed';
    this.#isAttempting = true;
    try {
      const outcome = await this.#election.attempt();
      events.onAttempt(outcome);
      return outcome;
    } catch (error) {
      events.onAttempt('failed', error as Error);
      return 'failed';
    } finally {
      this.#isAttempting = false;
      if (this.#seen !== undefined && !this.#election.isLeader) this.#election.observe(this.#seen);
      this.#seen = undefined;
    }
  }

  /** Begins or ends the work, as the election has it. */
  #follow(last: Attempt | 'failed'): void {
    const { events, stop } = this.#options;
    const election = this.#election;
    this.#tellWhetherSure();
    if (this.#work !== undefined && !(election.isLeader && election.term === this.#work.term)) this.#work.stop.abort();
    if (election.isLeader) {
      this.#toldHolder = undefined;
      const isFree = this.#work === undefined && !this.#yields && !stop.aborted;
      if (isFree && election.isSure) this.#begin(election.term);
    } else if (last === 'other' && election.holder !== this.#toldHolder) {
      this.#toldHolder = election.holder;
      events.onFollowing(election.holder);
    }
  }

  #begin(term: number): void {
    const { events, lead } = this.#options;
    const election = this.#election;
    const ended = new AbortController();
    events.onLeading(term);
    const isSure = (): boolean => election.isSure && election.term === term;
    const done = lead({ term, isSure }, ended.signal).then(
      () => {
        this.#yields = !ended.signal.aborted;
      },
      (error: unknown) => {
        this.#failure = { error };
      },
    );
    this.#work = {
      term,
      stop: ended,
      done: done.then(() => {
        this.#work = undefined;
        this.#wake();
      }),
    };
  }

  async #yield(): Promise<void> {
    const { events, times } = this.#options;
    this.#yields = false;
    this.#isResting = true;
    events.onYield();
    await this.#release();
    await this.#pause(YIELD_PAUSES * times.retryMs);
    this.#isResting = false;
  }

  #tellWhetherSure(): void {
    const isSure = this.#election.isSure || !this.#election.isLeader;
    if (isSure === this.#toldSure) return;
    this.#toldSure = isSure;
    this.#options.events.onSure(isSure);
  }

  /**
   * What a candidate sees counts as a sign of life; an old one makes it wait longer, at worst. A leader believes nothing but
   * the answers to its own requests. Candidates look at once when the lease is free; a leader, when another one has it.
   */
  #onChange(lease: StoredLease): void {
    const { holder } = lease.record;
    if (holder === this.#election.identity) return;
    if (!this.#election.isLeader) {
      if (this.#isAttempting) this.#seen = lease;
      else this.#election.observe(lease);
    }
    if (!this.#isResting && (holder === '' || this.#election.isLeader)) this.#wake();
  }

  /** An attempt that fails has only the time that a stop may take. */
  async #release(): Promise<void> {
    const { clock, events } = this.#options;
    let cancel: () => void = () => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = clock.after(RELEASE_MS, resolve);
    });
    try {
      await Promise.race([this.#election.release(), late]);
    } catch (error) {
      events.onAttempt('failed', error as Error);
    } finally {
      cancel();
    }
  }

  #wake(): void {
    this.#isWoken = true;
    this.#endPause();
  }

  /** Ends early when something happened that matters, also before it began. */
  async #pause(ms: number): Promise<void> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        const cancel = this.#options.clock.after(ms, resolve);
        this.#endPause = () => {
          cancel();
          resolve();
        };
      });
    }
    this.#isWoken = false;
  }
}
