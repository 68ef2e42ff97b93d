import type { RuleSet } from '../../../invalidator/src/core/rule-set.ts';
import { RestartPolicy } from '../../../invalidator/src/core/restart.ts';
import { StreamError } from '../../../invalidator/src/run/stream-error.ts';
import type { Topic, TopicRecord } from './kafka.ts';
import type { Network } from './network.ts';
import type { Server, WalRecord } from './postgres.ts';
import type { PublisherSabotage } from './sabotage.ts';
import { Session } from './session.ts';
import { SimClock, type VirtualTime } from './time.ts';
import type { WalSender } from './walsender.ts';

export interface InvalidatorOptions {
  readonly time: VirtualTime;
  readonly network: Network;
  readonly topic: Topic;
  readonly rules: RuleSet;
  readonly primary: () => Server;
  readonly sabotage: PublisherSabotage;
  /** Told of each record when Kafka takes it. */
  readonly onAppended: (record: TopicRecord, session: object) => void;
}

/** One process of `invalidator run`: sessions one after the other, until it is killed. */
export class SimInvalidator {
  readonly clock: SimClock;
  readonly #options: InvalidatorOptions;
  readonly #policy = new RestartPolicy();
  #session: Session | undefined;
  #isDead = false;
  /** How often a session failed in a row. */
  failures = 0;
  lastFailure = '';

  constructor(options: InvalidatorOptions) {
    this.#options = options;
    this.clock = new SimClock(options.time);
    void this.#run();
  }

  get stream(): WalSender | undefined {
    return this.#session?.stream;
  }

  /** What a DELETE or purge of a sidecar does here; the position of the purge. */
  emitPurge(purges: WalRecord['purges']): WalRecord {
    if (this.#isDead || this.#session === undefined) throw new Error('there is no session');
    const server = this.#options.primary();
    server.assertUp();
    return server.emit('purge', purges);
  }

  /** The server ends its connections; it does not hear of that while it sleeps. */
  cutOff(): void {
    this.#session?.cutOff();
  }

  kill(): void {
    this.#isDead = true;
    this.clock.stop();
    this.#session?.end();
  }

  async #run(): Promise<void> {
    while (!this.#isDead) {
      const session = new Session({
        ...this.#options,
        clock: this.clock,
        unusable: this.#policy.unusable,
        onSlotMade: () => this.#policy.slotMade(),
        onProgress: () => {
          this.failures = 0;
          this.#policy.progressed();
        },
      });
      this.#session = session;
      try {
        await session.run();
      } catch (error) {
        session.end();
        this.failures += 1;
        this.lastFailure = String(error);
        this.#policy.failed(error instanceof StreamError ? error.failure : 'passing', (error as Error).message);
      }
      if (!this.#isDead) await this.clock.sleep(100);
    }
  }
}
