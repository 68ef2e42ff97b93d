import type { LogReply } from '@tidemark/proto/redis';
import type { RedisClient } from '@tidemark/runtime';
import type { LogRedis } from './log-redis.ts';
import { openFenceLogs } from '../../../invalidator/src/adapters/redis-log.ts';
import { RecordGrouper, type Group, type SourceRecord } from '../../../invalidator/src/core/applier-groups.ts';
import { Applier } from '../../../invalidator/src/core/applier-loop.ts';
import type { BeginReason } from '../../../invalidator/src/core/applier.ts';
import type { Random } from './random.ts';
import { documentWith, wireBatch, type Source } from './source.ts';
import type { WorldApplier } from './world.ts';

const MAX_FENCES = 3;

export interface RealApplierOptions {
  readonly redis: LogRedis;
  readonly source: Source;
  readonly random: Random;
  /** Namespaces that have an L2 in its configuration. */
  readonly l2: readonly string[];
  readonly freshName: () => string;
  /** Called before each call to Redis. */
  readonly before: () => Promise<void>;
}

/** The applier of the product, reading the model's topic as the record reader would, on a Redis that misbehaves. */
export class RealApplier implements WorldApplier {
  readonly #options: RealApplierOptions;
  readonly #applier: Applier;
  readonly #grouper: RecordGrouper;
  #position: number | undefined;
  #isLoaded = false;
  seen = '';
  readonly begun: BeginReason[] = [];
  holes = 0;
  applied = 0;

  constructor(options: RealApplierOptions) {
    const { redis, source: _source, l2, freshName } = options;
    this.#options = options;
    const client = clientOn(redis);
    this.#grouper = new RecordGrouper({ config: documentWith(l2), source: 'main', maxNames: 1000, maxGroupNames: 2 });
    this.#applier = new Applier({
      logs: openFenceLogs(client, { source: 'main', buckets: 1, maxFences: MAX_FENCES }),
      persist: (call) => this.#persist(call),
      freshName,
      maxFencesPerCall: 1,
      events: {
        onApplied: (group: Group) => void (this.applied += group.records),
        onBegin: (_bucket, reason) => void this.begun.push(reason),
        onAdopt: () => undefined,
        onHole: () => void (this.holes += 1),
      },
    });
  }

  /** Reads and applies some records, or all that there are. */
  async act(count = 1 + this.#options.random.below(4)): Promise<string> {
    const { source, random } = this.#options;
    if (!this.#isLoaded || random.below(20) === 0) await this.restart();
    const newest = source.batches.length - 1;
    this.#position ??= newest;
    if (this.#position < source.earliest || this.#position > source.batches.length) {
      this.#applier.afterReset();
      this.#position = newest;
    }
    const end = Math.min(this.#position + count, source.batches.length);
    const records: SourceRecord[] = [];
    for (let offset = this.#position; offset < end; offset++) {
      const batch = source.batches[offset];
      if (batch !== undefined) records.push({ offset, decoded: { kind: 'batch', batch: wireBatch(batch) } });
    }
    const told = `${this.#position} to ${end}`;
    this.#position = end;
    const seek = await this.#applier.take(this.#grouper.group(records));
    if (seek === undefined) return told;
    this.#position = seek;
    return `${told}, back to ${seek}`;
  }

  /** As after a crash. */
  async restart(): Promise<void> {
    this.#position = await this.#applier.load();
    this.#isLoaded = true;
  }

  get isAtEnd(): boolean {
    return this.#position === this.#options.source.batches.length;
  }

  /** A call may be done although its answer was lost, and is then done again. */
  async #persist(call: () => Promise<LogReply>): Promise<LogReply> {
    const { before, random } = this.#options;
    await before();
    if (random.below(10) === 0) {
      await call();
      await before();
    }
    const reply = await call();
    this.seen = reply.text;
    return reply;
  }
}

/** A client of the product over whatever executes scripts here. */
export function clientOn(redis: LogRedis): RedisClient {
  return {
    isUp: true,
    command: (name, ...args) => redis.callBuffer(name, ...args),
    script: (script, keys, args) => redis.callBuffer('EVAL', script.source, keys.length, ...keys, ...args),
    close: () => undefined,
  };
}
