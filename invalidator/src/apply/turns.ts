import type { TidemarkConfig } from '@tidemark/proto';
import { Backoff } from '@tidemark/runtime';
import { ApplySession, type SessionContext } from './session.ts';

/** Runs sessions one after the other for as long as this process is the one that is chosen. */
export class Turns {
  readonly #context: SessionContext;
  readonly #backoff = new Backoff({ firstMs: 100, maxMs: 5_000 });
  #document: TidemarkConfig;
  #isChosen: boolean | undefined;
  #isStopped = false;
  #session: ApplySession | undefined;
  #work = Promise.resolve();

  constructor(context: SessionContext, document: TidemarkConfig) {
    this.#context = context;
    this.#document = document;
  }

  get reachedOffset(): number | undefined {
    return this.#session?.reachedOffset;
  }

  set(isChosen: boolean): void {
    if (this.#isStopped || this.#isChosen === isChosen) return;
    this.#isChosen = isChosen;
    this.#context.logger.info({ isChosen }, isChosen ? 'chosen to apply' : 'another one applies');
    if (isChosen) {
      this.#work = this.#work.then(() => this.#run());
    } else {
      void this.#session?.stop();
      this.#work = this.#work.then(() => this.#context.setState('standby'));
    }
  }

  /** Other namespaces from here on (SPEC I16): the session under way ends, and the next one adopts them (I7). */
  reconfigure(document: TidemarkConfig): void {
    this.#document = document;
    void this.#session?.stop();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#isChosen = false;
    await this.#session?.stop();
    await this.#work;
    this.#context.setState('stopping');
  }

  async #run(): Promise<void> {
    while (this.#isChosen === true) {
      const session = new ApplySession(this.#context, {
        document: this.#document,
        onProgress: () => this.#backoff.reset(),
      });
      this.#session = session;
      try {
        await session.run();
      } catch (error) {
        this.#context.logger.error({ err: error }, 'applying failed: beginning again');
        await this.#backoff.pause();
      }
      this.#session = undefined;
    }
  }
}
