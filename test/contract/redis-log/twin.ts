import { deepStrictEqual } from 'node:assert';
import { RedisData } from '../../sim/redis/keyspace.ts';
import { runCommand, runScript } from '../../sim/redis/scripts.ts';
import type { LogRedis } from './log-redis.ts';

type Argument = string | number | Buffer;

/** A real Redis and the model of the simulation, side by side: each call must be answered alike. */
export class TwinRedis implements LogRedis {
  readonly model = new RedisData();
  /** Calls that were compared. */
  compared = 0;
  readonly #real: LogRedis;
  /** What the model held when the real one was dumped. */
  readonly #dumps = new WeakMap<Buffer, ReturnType<RedisData['snapshot']>>();

  constructor(real: LogRedis) {
    this.#real = real;
  }

  async get(key: string): Promise<string | null> {
    return this.#same(await this.#real.get(key), this.model.text(key) ?? null);
  }

  async del(key: string): Promise<number> {
    return this.#same(await this.#real.del(key), this.model.delete(key));
  }

  async keys(pattern: '*'): Promise<string[]> {
    const found = await this.#real.keys(pattern);
    this.#same(found.toSorted(), this.model.keys.toSorted());
    return found;
  }

  keysBuffer(pattern: '*'): Promise<Buffer[]> {
    return this.#real.keysBuffer(pattern);
  }

  async dumpBuffer(key: Buffer): Promise<Buffer> {
    const dump = await this.#real.dumpBuffer(key);
    this.#dumps.set(dump, this.model.snapshot());
    return dump;
  }

  async restore(key: string, ttl: 0, dump: Buffer): Promise<unknown> {
    const value = this.#dumps.get(dump)?.get(key);
    if (value === undefined) throw new Error(`${key} was not in the model when it was dumped`);
    this.model.restore(new Map(this.model.snapshot()).set(key, value));
    return this.#real.restore(key, ttl, dump);
  }

  flushdb(): Promise<string> {
    this.model.flush();
    return this.#real.flushdb();
  }

  async eval(script: string, keyCount: number, ...rest: Argument[]): Promise<unknown> {
    return this.#same(
      await this.#real.eval(script, keyCount, ...rest),
      asTexts(runScript(this.model, script, rest.slice(0, keyCount), rest.slice(keyCount))),
    );
  }

  async callBuffer(name: string, ...args: Argument[]): Promise<unknown> {
    const real = await this.#real.callBuffer(name, ...args);
    const [script, keyCount, ...rest] = args;
    const model =
      name === 'EVAL'
        ? runScript(this.model, String(script), rest.slice(0, Number(keyCount)), rest.slice(Number(keyCount)))
        : runCommand(this.model, name, args);
    this.#same(asTexts(real), asTexts(model));
    return real;
  }

  /** Compares everything that the two hold. */
  async compareAll(): Promise<void> {
    const real: Record<string, unknown> = {};
    for (const key of (await this.#real.keys('*')).toSorted()) real[key] = await this.#contents(key);
    deepStrictEqual(this.model.dump(), real);
  }

  async #contents(key: string): Promise<unknown> {
    const type = String(await this.#real.callBuffer('TYPE', key));
    if (type === 'string') return ((await this.#real.callBuffer('GET', key)) as Buffer).toString('latin1');
    const flat = ((await this.#real.callBuffer('ZRANGE', key, 0, -1, 'WITHSCORES')) as Buffer[]).map(String);
    const scores = flat.flatMap((member, i) => (i % 2 === 0 ? [[member, flat[i + 1] ?? ''] as const] : []));
    return Object.fromEntries(scores.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }

  #same<T>(real: T, model: unknown): T {
    this.compared += 1;
    deepStrictEqual(model, real);
    return real;
  }
}

/** Answers come as texts or as bytes, as the caller asks. */
function asTexts(answer: unknown): unknown {
  if (Array.isArray(answer)) return answer.map(asTexts);
  return Buffer.isBuffer(answer) ? answer.toString('latin1') : answer;
}
