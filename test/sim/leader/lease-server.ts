import type { LeaseRecord, LeaseStore, StoredLease } from '../../../invalidator/src/core/ports.ts';
import type { Dice } from '../../../sidecar/src/testing/random.ts';
import { SimClock, type VirtualTime } from '../parts/time.ts';

/** What happens to the requests of one candidate. */
export interface Network {
  /** Nothing gets through, either way. */
  isCut: boolean;
  /** Chance that a request, or its answer, is lost or comes after the deadline. */
  trouble: number;
}

/** One Lease as an API server keeps it: writes name the version that they replace. */
export class LeaseServer {
  readonly #clock: SimClock;
  readonly #dice: Dice;
  readonly #watchers = new Set<(lease: StoredLease) => void>();
  #lease: StoredLease | undefined;
  #versions = 0;
  isDown = false;
  /** A server that takes any write would let two candidates lead: the tests must notice. */
  readonly #checksVersions: boolean;

  constructor(options: { time: VirtualTime; dice: Dice; checksVersions: boolean }) {
    this.#clock = new SimClock(options.time);
    this.#dice = options.dice;
    this.#checksVersions = options.checksVersions;
  }

  get lease(): StoredLease | undefined {
    return this.#lease;
  }

  delete(): void {
    this.#lease = undefined;
  }

  /** The way of one process to this server; `clock` is the process' own, and stands still with it. */
  storeFor(options: { clock: SimClock; network: Network; deadlineMs: number }): LeaseStore {
    const { clock, network, deadlineMs } = options;
    const ask = <T>(carryOut: () => T): Promise<T> =>
      new Promise((resolve, reject) => {
        clock.after(deadlineMs, () => reject(new Error('no answer in time')));
        if (this.#isLost(network)) return;
        this.#clock.after(this.#delayMs(network), () => {
          if (this.isDown) return;
          const answer = carryOut();
          if (!this.#isLost(network)) clock.after(this.#delayMs(network), () => resolve(answer));
        });
      });
    return {
      read: () => ask(() => this.#lease),
      create: (record) => ask(() => (this.#lease === undefined ? this.#write(record) : 'conflict')),
      update: (record, version) =>
        ask(() => {
          const isCurrent = this.#lease?.version === version || !this.#checksVersions;
          return this.#lease !== undefined && isCurrent ? this.#write(record) : 'conflict';
        }),
      watch: (onChange, stop) => {
        const tell = (lease: StoredLease): void => {
          if (!this.#isLost(network)) clock.after(this.#delayMs(network), () => void (stop.aborted || onChange(lease)));
        };
        this.#watchers.add(tell);
        return new Promise((resolve) => {
          stop.addEventListener('abort', () => {
            this.#watchers.delete(tell);
            resolve();
          });
        });
      },
    };
  }

  #write(record: LeaseRecord): StoredLease {
    this.#lease = { record, version: String(++this.#versions) };
    for (const tell of this.#watchers) tell(this.#lease);
    return this.#lease;
  }

  #isLost(network: Network): boolean {
    return network.isCut || this.isDown || this.#dice.fraction() < network.trouble / 2;
  }

  /** Now and then a request is carried out long after its sender has given it up. */
  #delayMs(network: Network): number {
    return this.#dice.fraction() < network.trouble ? this.#dice.below(20_000) : 1 + this.#dice.below(20);
  }
}
