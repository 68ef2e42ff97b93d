import type { Entry, Lsn } from '@tidemark/proto';
import type { Clock } from './ports.ts';
import type { Target } from './position.ts';
import type { Positions } from './positions.ts';
import type { ReplicaView } from './replica.ts';
import {
  ANY_SOURCE,
  ANYTHING,
  both,
  bothPending,
  formatSession,
  NOTHING_SEEN,
  type Seen,
  type SessionToken,
} from './session-token.ts';
import type { Watermark } from './watermark.ts';

/**
 * Why the cache does not answer a read that demands a position. `behind`: it was not applied in time. `no-position`: it is not
 * known which it is, and the invalidator cannot be asked. `crowded`: too many wait.
 */
export type Unmet = 'behind' | 'no-position' | 'crowded';

/** What a request demands; at least one of the two. */
export interface Demand {
  /** Of the session that the request belongs to. */
  readonly token: SessionToken | undefined;
  readonly min: Target | undefined;
}

/** After so long the database is asked where it stands, which also makes the stream move. */
const NUDGE_MS = 20;

export interface SessionsOptions {
  readonly source: string;
  readonly replica: ReplicaView;
  readonly watermark: Watermark;
  readonly positions: Positions;
  readonly clock: Clock;
  /** Longest that a request waits for the position that it demands. */
  readonly timeoutMs: number;
}

/** Reads that must not be older than what the caller has seen or written, whichever sidecar it talks to (SPEC I14). */
export class Sessions {
  readonly #options: SessionsOptions;
  /** Requests with a demand; those that had to wait; and how those ended that were not answered from the cache. */
  readonly counters = { visits: 0, waits: 0, behind: 0, 'no-position': 0, crowded: 0 };

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  visit(demand: Demand): Visit {
    this.counters.visits += 1;
    return new Visit(this.#options, demand, this.counters);
  }
}

/** One request of a session, or with a least position. */
export class Visit {
  readonly #options: SessionsOptions;
  readonly #token: SessionToken | undefined;
  readonly #counters: Sessions['counters'];
  /** Compared by its number alone. */
  readonly #minLsn: Lsn;
  #seen: Seen;

  constructor(options: SessionsOptions, { token, min }: Demand, counters: Sessions['counters']) {
    this.#options = options;
    this.#token = token;
    this.#counters = counters;
    this.#seen = both(token?.get(options.source) ?? NOTHING_SEEN, token?.get(ANY_SOURCE) ?? NOTHING_SEEN);
    this.#minLsn = min?.epoch === undefined ? (min?.lsn ?? 0) : 0;
    if (min?.epoch !== undefined) this.#seen = both(this.#seen, { epoch: min.epoch, lsn: min.lsn, pending: undefined });
  }

  /**
   * Waits until everything is applied that the caller has seen or demands; `settle` is called once, at once or later, unless
   * the answer, which ends the wait, is called before.
   */
  gate(settle: (unmet: Unmet | undefined) => void): () => void {
    const { clock, watermark, positions, replica, timeoutMs } = this.#options;
    let isDone = false;
    let leave: () => void = () => undefined;
    const timers: (() => void)[] = [];
    const end = (): void => {
      isDone = true;
      leave();
      for (const cancel of timers) cancel();
    };
    const finish = (unmet?: Unmet): void => {
      if (isDone) return;
      end();
      if (unmet !== undefined) this.#counters[unmet] += 1;
      settle(unmet);
    };
    const proceed = (): void => {
      if (isDone) return;
      leave();
      const target = this.#next();
      if (target === undefined) finish();
      else if (target === 'ask')
        positions.ask((position) => {
          if (position === undefined || position.epoch < Math.max(replica.epoch, this.#seen.epoch))
            finish('no-position');
          else {
            // Nobody can have seen more, so this stands for everything that was seen.
            this.#seen = { ...position, pending: undefined };
            proceed();
          }
        });
      else leave = watermark.wait(target, (reached) => (reached === 'crowded' ? finish('crowded') : proceed()));
    };
    proceed();
    if (isDone) return () => undefined;
    this.#counters.waits += 1;
    timers.push(
      clock.after(timeoutMs, () => finish('behind')),
      clock.after(NUDGE_MS, () =>
        positions.ask((position) => {
          const { epoch, lsn, pending } = this.#seen;
          if (isDone || position?.epoch !== epoch || position.lsn >= lsn) return;
          // Somebody named a position that the database has not reached: no change can stand there.
          this.#seen = { epoch, lsn: position.lsn, pending };
          proceed();
        }),
      ),
    );
    return end;
  }

  /** To be asked before a value is served, in the same tick: notes what its reader has seen then. False: it may be too old. */
  saw(entry: Entry): boolean {
    // Namespaces that opted out of coherence follow no positions.
    if (entry.epoch === 0) return true;
    const { replica, positions } = this.#options;
    const { epoch, applied } = replica;
    const { epoch: seenEpoch, lsn, pending } = this.#seen;
    if ((seenEpoch !== 0 && seenEpoch !== epoch) || applied < Math.max(lsn, this.#minLsn)) return false;
    const { loadedAt } = entry;
    if (loadedAt === undefined && this.#token !== undefined) positions.learn(entry);
    this.#seen = {
      epoch,
      lsn: Math.max(lsn, applied, loadedAt ?? 0),
      pending: loadedAt === undefined ? ANYTHING : pending,
    };
    return true;
  }

  /** The caller reads the database now; `lease` says which fill may tell how far that was. */
  missed(lease: string | undefined): void {
    this.#seen = { ...this.#seen, pending: bothPending(this.#seen.pending, lease ?? ANYTHING) };
  }

  /** The caller knows something up to this position: it has loaded a value under a lease, or written a purge. */
  knows(lsn: Lsn | undefined, lease?: string): void {
    const { epoch } = this.#options.replica;
    const { epoch: seenEpoch, lsn: seenLsn, pending } = this.#seen;
    if (lsn === undefined || (seenEpoch !== 0 && seenEpoch !== epoch)) this.missed(undefined);
    else {
      const isAnswered = pending !== undefined && pending === lease;
      this.#seen = { epoch, lsn: Math.max(seenLsn, lsn), pending: isAnswered ? undefined : pending };
    }
  }

  /** What the caller sends with its next request; undefined where it has no session. */
  token(): string | undefined {
    if (this.#token === undefined) return undefined;
    const { source } = this.#options;
    const others = [...this.#token].filter(([name]) => name !== ANY_SOURCE);
    return formatSession(new Map([...others, [source, this.#seen]]));
  }

  /** What `gate` waits for next: a position, or to be told which; undefined when nothing is left to wait for. */
  #next(): Target | 'ask' | undefined {
    const { replica, watermark } = this.#options;
    const { epoch, lsn, pending } = this.#seen;
    if (pending !== undefined || (epoch !== 0 && epoch < replica.epoch)) return 'ask';
    const targets: readonly Target[] = [
      { epoch: epoch === 0 ? undefined : epoch, lsn },
      { epoch: undefined, lsn: this.#minLsn },
    ];
    return targets.find((target) => watermark.look(target) !== 'reached');
  }
}
