import type { LogReply } from '@tidemark/proto/redis';
import { openFenceLogs } from '../../../invalidator/src/adapters/redis-log.ts';
import { RecordGrouper } from '../../../invalidator/src/core/applier-groups.ts';
import { Applier } from '../../../invalidator/src/core/applier-loop.ts';
import type { SimDocument } from './documents.ts';
import type { Fetched, Topic } from './kafka.ts';
import type { Channel, Network } from './network.ts';
import { SimRedisClient, type ScriptSabotage, type SimRedis } from '../redis/client.ts';
import type { ApplierSabotage } from './sabotage.ts';
import { nothing } from './silent.ts';
import { SimClock, type VirtualTime } from './time.ts';

export interface ApplierOptions {
  readonly time: VirtualTime;
  readonly network: Network;
  readonly topic: Topic;
  readonly redis: SimRedis;
  /** Undefined: it has none yet. */
  readonly document: SimDocument | undefined;
  readonly freshName: () => string;
  readonly sabotage: ApplierSabotage;
  readonly script: ScriptSabotage | undefined;
}

/** So few that logs are trimmed. */
const MAX_FENCES = 4;
export const BUCKETS = 2;
/** Ends a session in the middle of its work. */
const STOPPED = new Error('stopped');

/** One process of `invalidator apply`, wired as invalidator/src/apply/session.ts wires it. */
export class SimApplier {
  readonly clock: SimClock;
  readonly #options: ApplierOptions;
  readonly #redis: SimRedisClient;
  readonly #kafka: Channel;
  #document: SimDocument | undefined;
  #session: object | undefined;

  constructor(options: ApplierOptions) {
    const { network, redis, script } = options;
    this.#options = options;
    this.clock = new SimClock(options.time);
    this.#redis = new SimRedisClient({ redis, network, clock: this.clock, sabotage: script });
    this.#kafka = network.open(this.clock);
    if (options.document !== undefined) this.take(options.document);
  }

  get document(): SimDocument | undefined {
    return this.#document;
  }

  /** It hears of a document: the session under way ends, and another begins. */
  take(document: SimDocument): void {
    if (this.#document === document) return;
    this.#document = document;
    const session = {};
    this.#session = session;
    void this.#run(session, document).catch((error: unknown) => {
      if (error !== STOPPED) throw error;
    });
  }

  kill(): void {
    this.#session = undefined;
    this.clock.stop();
    this.#options.network.close(this.#redis.channel);
    this.#options.network.close(this.#kafka);
  }

  async #run(session: object, { config }: SimDocument): Promise<void> {
    const { topic, sabotage, freshName } = this.#options;
    const grouper = new RecordGrouper({ config, source: 'main', maxNames: 1000, maxGroupNames: 3 });
    const logs = openFenceLogs(this.#redis, { source: 'main', buckets: BUCKETS, maxFences: MAX_FENCES });
    const applier = new Applier({
      logs: sabotage.logs?.(logs) ?? logs,
      persist: (call) => this.#persist(session, call),
      freshName: sabotage.freshName ?? freshName,
      maxFencesPerCall: 1,
      events: { onApplied: nothing, onBegin: nothing, onAdopt: nothing, onHole: nothing },
    });
    let offset = (await applier.load()) ?? (await this.#ask(() => topic.newestOffset));
    while (this.#session === session) {
      const at = offset;
      const { reset, records, nextOffset }: Fetched = await this.#ask(
        () => topic.fetch(at, 4),
        () => topic.hasNews(at),
      );
      if (reset !== undefined) {
        applier.afterReset();
        offset = reset;
        continue;
      }
      const decoded = records.map((each) => ({
        offset: each.offset,
        decoded: { kind: 'batch' as const, batch: each.record.batch },
      }));
      if (this.#session !== session) return;
      offset = (await applier.take(grouper.group(decoded))) ?? nextOffset;
    }
  }

  async #ask<T>(work: () => T, isReady?: () => boolean): Promise<T> {
    for (;;) {
      try {
        return await this.#kafka.call(work, isReady);
      } catch {
        await this.clock.sleep(50);
      }
    }
  }

  /** Lets the call that is under way end, and nothing else. */
  async #persist(session: object, call: () => Promise<LogReply>): Promise<LogReply> {
    for (;;) {
      if (this.#session !== session) throw STOPPED;
      try {
        return await call();
      } catch {
        await this.clock.sleep(20);
      }
    }
  }
}
