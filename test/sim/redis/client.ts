import { RedisUnavailableError, type RedisArgument, type RedisClient, type RedisScript } from '@tidemark/runtime';
import type { Channel, Network } from '../parts/network.ts';
import type { SimClock } from '../parts/time.ts';
import { RedisData } from './keyspace.ts';
import { runCommand, runScript } from './scripts.ts';

/** A Redis that processes are connected to. */
export class SimRedis {
  readonly data = new RedisData();
  isUp = true;
}

/** Changes what reaches Redis or comes back from it. */
export type ScriptSabotage = (
  source: string,
  call: { keys: readonly RedisArgument[]; args: readonly RedisArgument[] },
) => { keys: readonly RedisArgument[]; args: readonly RedisArgument[] };

/** One process's connection to it. */
export class SimRedisClient implements RedisClient {
  readonly channel: Channel;
  readonly #redis: SimRedis;
  readonly #sabotage: ScriptSabotage | undefined;

  constructor(options: { redis: SimRedis; network: Network; clock: SimClock; sabotage: ScriptSabotage | undefined }) {
    this.#redis = options.redis;
    this.channel = options.network.open(options.clock);
    this.#sabotage = options.sabotage;
  }

  get isUp(): boolean {
    return true;
  }

  command(name: string, ...args: readonly RedisArgument[]): Promise<unknown> {
    return this.channel.call(() => runCommand(this.#up(), name, args));
  }

  script({ source }: RedisScript, keys: readonly RedisArgument[], args: readonly RedisArgument[]): Promise<unknown> {
    return this.channel.call(() => {
      const call = this.#sabotage?.(source, { keys, args }) ?? { keys, args };
      return runScript(this.#up(), source, call.keys, call.args);
    });
  }

  close(): void {
    this.channel.orphan();
  }

  #up(): RedisData {
    if (!this.#redis.isUp) throw new RedisUnavailableError('Redis is away');
    return this.#redis.data;
  }
}
