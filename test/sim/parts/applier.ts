import type { TidemarkConfig } from '@tidemark/proto';
import type { LogReply } from '@tidemark/proto/redis';
import { openFenceLogs } from '../../../invalidator/src/adapters/redis-log.ts';
import { RecordGrouper } from '../../../invalidator/src/core/applier-groups.ts';
import { Applier } from '../../../invalidator/src/core/applier-loop.ts';
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
  readonly config: TidemarkConfig;
  readonly freshName: () => string;
  readonly sabotage: ApplierSabotage;
  readonly script: ScriptSabotage | undefined;
}

/** So few that logs are trimmed. */
const MAX_FENCES = 4;
export const BUCKETS = 2;

/** One process of `invalidator apply`, wired as invalidator/src/apply/session.ts wires it. */
export class SimApplier {
  readonly clock: SimClock;
  readonly #options: ApplierOptions;
  readonly #redis: SimRedisClient;
  readonly #kafka: Channel;
  readonly #grouper: RecordGrouper;
  readonly #applier: Applier;
  #isDead = false;

  constructor(options: ApplierOptions) {
    const { network, config, redis, sabotage, script } = options;
    this.#options = options;
    this.clock = new SimClock(options.time);
    this.#redis = new SimRedisClient({ redis, network, clock: this.clock, sabotage: script });
    this.#kafka = network.open(this.clock);
    this.#grouper = new RecordGrouper({ config, source: 'main', maxNames: 1000, maxGroupNames: 3 });
    const logs = openFenceLogs(this.#redis, { source: 'main', buckets: BUCKETS, maxFences: MAX_FENCES });
    this.#applier = new Applier({
      logs: sabotage.logs?.(logs) ?? logs,
      persist: (call) => this.#persist(call),
      freshName: sabotage.freshName ?? options.freshName,
      maxFencesPerCall: 1,
      events: { onApplied: nothing, onBegin: nothing, onAdopt: nothing, onHole: nothing },
    });
    void this.#run();
  }

  kill(): void {
    this.#isDead = true;
    this.clock.stop();
    this.#options.network.close(this.#redis.channel);
    this.#options.network.close(this.#kafka);
  }

  async #run(): Promise<void> {
    const { topic } = this.#options;
    let offset = (await this.#applier.load()) ?? (await this.#ask(() => topic.newestOffset));
    while (!this.#isDead) {
      const at = offset;
      const { reset, records, nextOffset }: Fetched = await this.#ask(
        () => topic.fetch(at, 4),
        () => topic.hasNews(at),
      );
      if (reset !== undefined) {
        this.#applier.afterReset();
        offset = reset;
        continue;
      }
      const decoded = records.map((each) => ({
        offset: each.offset,
        decoded: { kind: 'batch' as const, batch: each.record.batch },
      }));
      offset = (await this.#applier.take(this.#grouper.group(decoded))) ?? nextOffset;
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

  async #persist(call: () => Promise<LogReply>): Promise<LogReply> {
    for (;;) {
      try {
        return await call();
      } catch {
        await this.clock.sleep(20);
      }
    }
  }
}
