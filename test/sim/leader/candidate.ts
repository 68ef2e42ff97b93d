import { leadByLease, type Leadership } from '../../../invalidator/src/core/leader-loop.ts';
import type { ElectionTimes } from '../../../invalidator/src/core/election.ts';
import type { Clock } from '../../../invalidator/src/core/ports.ts';
import type { Dice } from '../../../sidecar/src/testing/random.ts';
import { SimClock, type VirtualTime } from '../parts/time.ts';
import type { LeaseServer, Network } from './lease-server.ts';

/** One replica that takes part, on a machine whose clock shows another time and runs faster or slower than true. */
export class Candidate {
  readonly name: string;
  readonly network: Network = { isCut: false, trouble: 0 };
  readonly #process: SimClock;
  readonly #stop = new AbortController();
  readonly #dice: Dice;
  readonly ended: Promise<void>;
  leadership: Leadership | undefined;
  #endWork: () => void = () => undefined;
  isGone = false;

  constructor(options: {
    name: string;
    time: VirtualTime;
    dice: Dice;
    server: LeaseServer;
    times: ElectionTimes;
    rate: number;
    onLeading: (term: number) => void;
  }) {
    const { name, time, dice, server, times, rate, onLeading } = options;
    this.name = name;
    this.#dice = dice;
    this.#process = new SimClock(time);
    const process = this.#process;
    const offsetMs = (dice.fraction() - 0.5) * 1e9;
    const clock: Clock = {
      monotonicMs: () => process.monotonicMs() * rate,
      wallMs: () => process.wallMs() + offsetMs,
      after: (delayMs, run) => process.after(delayMs / rate, run),
    };
    this.ended = leadByLease({
      identity: name,
      times,
      store: server.storeFor({ clock: process, network: this.network, deadlineMs: times.renewDeadlineMs / 2 / rate }),
      clock,
      random: () => dice.fraction(),
      events: {
        onLeading,
        onFollowing: () => undefined,
        onSure: () => undefined,
        onYield: () => undefined,
        onAttempt: () => undefined,
      },
      lead: (leadership, stop) => this.#lead(leadership, stop),
      stop: this.#stop.signal,
    }).then(() => {
      this.isGone = true;
    });
  }

  /** It may do what only one may. */
  get isSure(): boolean {
    return !this.isGone && this.leadership?.isSure() === true;
  }

  /** It does the work, sure or not. */
  get isWorking(): boolean {
    return !this.isGone && this.leadership !== undefined;
  }

  get isPaused(): boolean {
    return this.#process.isAsleep;
  }

  pause(): void {
    this.#process.isAsleep = true;
  }

  resume(): void {
    this.#process.isAsleep = false;
  }

  kill(): void {
    this.isGone = true;
    this.#process.stop();
    // What is still on its way to it finds nobody.
    this.#process.isAsleep = true;
  }

  stop(): void {
    this.#stop.abort();
  }

  /** Its work cannot be done here. */
  giveUp(): void {
    this.#endWork();
  }

  /** Work that takes a while to end. */
  #lead(leadership: Leadership, stop: AbortSignal): Promise<void> {
    this.leadership = leadership;
    return new Promise((resolve) => {
      const end = (): void => {
        if (this.leadership === leadership) this.leadership = undefined;
        resolve();
      };
      this.#endWork = end;
      stop.addEventListener('abort', () => void this.#process.after(this.#dice.below(5000), end));
    });
  }
}
