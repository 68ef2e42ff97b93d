import { encodeBatch } from '@tidemark/proto';
import type { Follower } from '../../../sidecar/src/core/follower.ts';
import type { SourceReplica } from '../../../sidecar/src/core/replica.ts';
import type { Fetched, Topic, TopicRecord } from './kafka.ts';
import type { Channel } from './network.ts';
import type { Oracle, Standpoint } from './oracle.ts';
import type { SidecarSabotage } from './sabotage.ts';
import type { SimClock } from './time.ts';

const LONG_POLL_MS = 500;

export interface SimFeedOptions {
  readonly name: string;
  readonly kafka: Channel;
  readonly clock: SimClock;
  readonly topic: Topic;
  readonly replica: SourceReplica;
  readonly follower: Follower;
  readonly sabotage: SidecarSabotage;
  readonly oracle: Oracle;
}

/** Reads the stream as sidecar/src/adapters/kafka-feed.ts and the record reader do it, and knows for the oracle what was told. */
export class SimFeed {
  readonly #options: SimFeedOptions;
  #record: TopicRecord | undefined;
  #seq = 0;
  #isStopped = false;

  constructor(options: SimFeedOptions) {
    this.#options = options;
  }

  get standpoint(): Standpoint {
    const { epoch, applied, visible } = this.#options.replica;
    return { epoch, applied, visible, record: this.#record, seq: this.#seq };
  }

  stop(): void {
    this.#isStopped = true;
  }

  async follow(): Promise<void> {
    const { topic, sabotage, clock, follower } = this.#options;
    let offset = await this.#ask(() => topic.newestOffset);
    while (!this.#isStopped) {
      const at = offset;
      const sentAtMs = clock.monotonicMs();
      let requestedAtMs = sentAtMs;
      const fetched = await this.#ask(
        () => {
          // A long poll that brought nothing was sent again meanwhile, unless the process slept.
          if (!clock.isAsleep) requestedAtMs = Math.max(sentAtMs, clock.monotonicMs() - LONG_POLL_MS);
          return topic.fetch(at, 3);
        },
        () => topic.hasNews(at),
      );
      offset = fetched.nextOffset;
      if (fetched.reset === undefined) this.#deliver(fetched, requestedAtMs);
      else if (sabotage.ignoreReset !== true) follower.reset('lost');
    }
  }

  #deliver({ records, caughtUp }: Fetched, requestedAtMs: number): void {
    const { sabotage, clock, follower } = this.#options;
    for (const { record } of records) this.#take(record);
    const sentAtMs = sabotage.requestedAtMs?.(requestedAtMs, clock.monotonicMs()) ?? requestedAtMs;
    if (caughtUp && records.length > 0) follower.heard(sentAtMs);
  }

  #take(record: TopicRecord): void {
    const { sabotage, oracle, replica, follower, clock, name } = this.#options;
    const altered = sabotage.record?.(record.batch, replica);
    const { epoch: before, applied } = replica;
    // What is told of the moment in which callers that waited are answered is true of the record already.
    const { epoch, to } = record.batch;
    const isStarted = replica.horizon !== Number.POSITIVE_INFINITY;
    const isOlder = epoch < before && replica.state(clock.monotonicMs()) === 'live';
    const isNews = !isStarted || epoch !== before || to > applied;
    if (isNews && !isOlder) this.#record = record;
    // What a record claims counts only from where the replica stands.
    const counts = !isOlder && (isNews || to === applied);
    if (counts) this.#seq = epoch < before ? record.seq : Math.max(this.#seq, record.seq);
    if (sabotage.hearsOlder === true && epoch < before) return;
    follower.record(altered === undefined ? record.bytes : encodeBatch(altered));
    oracle.moved(name, this.standpoint);
  }

  async #ask<T>(work: () => T, isReady?: () => boolean): Promise<T> {
    const { kafka, clock } = this.#options;
    for (;;) {
      try {
        return await kafka.call(work, isReady);
      } catch {
        await clock.sleep(50);
      }
    }
  }
}
