import type { Coalescer } from './coalescer.ts';
import type { FlightClearance } from './flight-ports.ts';
import type { Claim, Flight } from './flights.ts';
import type { L2Look, Seen } from './l2-look.ts';
import type { Namespace } from './namespace.ts';
import type { Clock, L2Failure, L2Store, Random } from './ports.ts';
import type { ReplicaView } from './replica.ts';

/** How long callers who load wait until readers of the database see a change; usually that takes a few milliseconds. */
const SETTLE_MS = 50;
/** Between two looks at what another sidecar loads: so long at first, then twice as long each time, up to the most. */
const FIRST_LOOK_MS = 2;
const LAST_LOOK_MS = 50;
/** A flight waits for other sidecars for so much of the time that its callers wait: what is left is for a load of its own. */
const PATIENCE = 0.75;
/** Flights that wait for other sidecars; beyond it they load on their own. */
const MAX_WAITING = 1_000;

type Answer = 'granted' | 'taken' | L2Failure;

/** One flight on its way to its holder. */
interface Attempt {
  readonly namespace: Namespace;
  readonly flight: Flight;
  readonly claims: boolean;
  readonly beganMs: number;
  looks: number;
  cancelTimer: () => void;
}

/**
 * What a flight waits for before somebody loads, so that nobody loads in vain or what another loads already (SPEC I21):
 *
 * 1. until V has caught up with a change of the key that was applied, because no fill could be stored before (SPEC I3);
 * 2. for a claim on the key that all sidecars see in L2. Where another has it, its value is looked for there instead.
 *
 * Both only spare work and decide nothing about coherence. So both are bounded in time, and where L2 does not answer or has forgotten a
 * claim, a sidecar loads on its own. A claim ends by itself if its holder dies, in half the time that callers wait, so that
 * there is time left for the next one.
 */
export class Clearance implements FlightClearance {
  /** How waiting for V ended, and for how many flights it had to be waited for. */
  readonly settling = { waited: 0, gaveUp: 0 };
  /** What L2 said to claims. */
  readonly claims = { granted: 0, taken: 0, away: 0 };
  /** How flights ended that another sidecar had the claim for. */
  readonly others = { value: 0, claim: 0, alone: 0, left: 0 };
  readonly #replica: ReplicaView;
  readonly #coalescer: Coalescer;
  readonly #look: L2Look;
  readonly #l2: L2Store | undefined;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #waitMs: number;
  readonly #attempts = new Map<Flight, Attempt>();
  readonly #unsettled = new Set<Attempt>();
  #waiting = 0;

  constructor(options: {
    replica: ReplicaView;
    coalescer: Coalescer;
    look: L2Look;
    l2: L2Store | undefined;
    clock: Clock;
    random: Random;
    /** How long callers wait. */
    waitMs: number;
  }) {
    this.#replica = options.replica;
    this.#coalescer = options.coalescer;
    this.#look = options.look;
    this.#l2 = options.l2;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#waitMs = options.waitMs;
    this.#coalescer.attach({ clearance: this });
  }

  /** Flights that wait now. */
  get waiting(): number {
    return this.#attempts.size;
  }

  /** Whether a load that begins now would be in vain. */
  isUnsettled(namespace: Namespace, key: string): boolean {
    const { rules } = namespace;
    return rules !== undefined && !this.#replica.settled(rules, key, namespace.tagsOf(key, []));
  }

  /** Whether sidecars agree who loads. */
  isShared(namespace: Namespace): boolean {
    // Where callers load without leases, nobody can tell who does.
    const isTold = namespace.rules !== undefined || namespace.loader !== undefined;
    return isTold && namespace.config.l2.lease && this.#look.available(namespace);
  }

  /** Lets the flight be boarded, now or later, unless it ends before. `claims` is false where what L2 has is of no use. */
  seek(namespace: Namespace, flight: Flight, { claims }: { claims: boolean }): void {
    this.#end(this.#attempts.get(flight));
    const attempt: Attempt = {
      ...{ namespace, flight, claims, beganMs: this.#clock.monotonicMs(), looks: 0 },
      cancelTimer: () => undefined,
    };
    flight.seeking = true;
    this.#attempts.set(flight, attempt);
    this.#settle(attempt);
  }

  /** A record was applied as a whole. */
  advanced(): void {
    for (const attempt of [...this.#unsettled]) {
      const { namespace, flight } = attempt;
      if (!this.#isOn(attempt)) this.#end(attempt);
      else if (!this.isUnsettled(namespace, flight.key)) this.#settled(attempt);
      else if (this.#coalescer.bypass(namespace) !== undefined) this.#board(attempt);
    }
  }

  /** The flight has ended; where a value was stored, `shared` settles once others can see it. */
  release(flight: Flight, shared?: Promise<unknown>): void {
    this.#end(this.#attempts.get(flight));
    this.#letGo(flight, shared);
  }

  #letGo(flight: Flight, shared?: Promise<unknown>): void {
    const { claim } = flight;
    flight.claim = undefined;
    if (claim === undefined || claim.untilMs <= this.#clock.monotonicMs()) return;
    const release = (): void => void this.#l2?.release(claim.namespace, flight.key, claim.token);
    if (shared === undefined) release();
    else void shared.then(release);
  }

  #settle(attempt: Attempt): void {
    const { namespace, flight } = attempt;
    if (!this.isUnsettled(namespace, flight.key)) {
      this.#claim(attempt);
      return;
    }
    this.settling.waited += 1;
    this.#unsettled.add(attempt);
    // A caller may use what it loads too early, and the sidecar may not.
    const longestMs = namespace.loads(flight.key) ? this.#waitMs : SETTLE_MS;
    attempt.cancelTimer = this.#clock.after(longestMs, () => {
      this.settling.gaveUp += 1;
      this.#settled(attempt);
    });
  }

  #settled(attempt: Attempt): void {
    attempt.cancelTimer();
    this.#unsettled.delete(attempt);
    this.#claim(attempt);
  }

  #claim(attempt: Attempt): void {
    const { namespace, flight, claims } = attempt;
    const nowMs = this.#clock.monotonicMs();
    if (!this.#isOn(attempt)) {
      this.#end(attempt);
      return;
    }
    if (flight.waiters.size === 0) {
      this.#leave(attempt);
      return;
    }
    const hasClaim = flight.claim !== undefined && flight.claim.untilMs - nowMs >= this.#claimMs / 2;
    const isLate = nowMs - attempt.beganMs >= this.#waitMs * PATIENCE;
    if (!claims || hasClaim || isLate || !this.isShared(namespace) || this.#waiting >= MAX_WAITING) {
      if (attempt.looks > 0) this.others.alone += 1;
      this.#board(attempt);
      return;
    }
    this.#ask(attempt, nowMs);
  }

  /**
   * Claim and look go out together. L2 sees the claim first, so whoever is granted it sees what was filled before the one who had it let
   * go of it.
   */
  #ask(attempt: Attempt, nowMs: number): void {
    const { namespace, flight } = attempt;
    const token = this.#random.token();
    const claim: Claim = { namespace: namespace.rules ?? namespace.name, token, untilMs: nowMs + this.#claimMs };
    this.#letGo(flight);
    this.#waiting += 1;
    let answer: Answer | undefined;
    let seen: Seen | undefined;
    const proceed = (): void => {
      if (answer === undefined || seen === undefined) return;
      this.#waiting -= 1;
      this.#answered(attempt, { claim, answer, seen });
    };
    void this.#l2?.claim(claim.namespace, flight.key, { token, ttlMs: this.#claimMs }).then((told) => {
      answer = told;
      proceed();
    });
    this.#look.look(namespace, flight, (told) => {
      seen = told;
      proceed();
    });
  }

  #answered(attempt: Attempt, { claim, answer, seen }: { claim: Claim; answer: Answer; seen: Seen }): void {
    const { flight } = attempt;
    this.claims[answer === 'lost' ? 'away' : answer] += 1;
    if (answer === 'granted') flight.claim = claim;
    if (!this.#isOn(attempt)) {
      if (attempt.looks > 0) this.others[seen === 'served' ? 'value' : 'left'] += 1;
      this.#end(attempt);
      this.#letGo(flight);
    } else if (answer === 'taken') this.#wait(attempt);
    else {
      if (attempt.looks > 0) this.others[answer === 'granted' ? 'claim' : 'alone'] += 1;
      this.#board(attempt);
    }
  }

  /** Another sidecar loads it. */
  #wait(attempt: Attempt): void {
    const { namespace, flight } = attempt;
    this.#coalescer.taken(namespace, flight);
    const longestMs = Math.min(LAST_LOOK_MS, FIRST_LOOK_MS * 2 ** Math.min(attempt.looks, 10));
    attempt.looks += 1;
    attempt.cancelTimer = this.#clock.after(longestMs * (0.5 + this.#random.fraction() / 2), () =>
      this.#claim(attempt),
    );
  }

  /** Nobody waits any more. */
  #leave(attempt: Attempt): void {
    if (attempt.looks > 0) this.others.left += 1;
    this.#end(attempt);
    this.#coalescer.handOver(attempt.namespace, attempt.flight);
  }

  #board(attempt: Attempt): void {
    this.#end(attempt);
    this.#coalescer.board(attempt.namespace, attempt.flight);
  }

  /** Whether the flight has not ended otherwise. */
  #isOn(attempt: Attempt): boolean {
    const { namespace, flight } = attempt;
    return this.#attempts.get(flight) === attempt && namespace.flights.get(flight.key) === flight;
  }

  #end(attempt: Attempt | undefined): void {
    if (attempt === undefined) return;
    attempt.cancelTimer();
    this.#unsettled.delete(attempt);
    if (this.#attempts.get(attempt.flight) !== attempt) return;
    this.#attempts.delete(attempt.flight);
    attempt.flight.seeking = false;
  }

  get #claimMs(): number {
    return this.#waitMs / 2;
  }
}
