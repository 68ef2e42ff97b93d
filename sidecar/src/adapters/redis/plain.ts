import type { Entry } from '@tidemark/proto';
import { DROP_SCRIPT, PUT_SCRIPT } from '@tidemark/proto/redis';
import { redisScript } from '@tidemark/runtime';
import type { RedisCalls } from './calls.ts';
import { Gather } from './gather.ts';
import { MAX_READ_TOGETHER, type Bucket } from './reads.ts';
import { ttlMs, type RedisValues } from './values.ts';

const putScript = redisScript(PUT_SCRIPT);
const dropScript = redisScript(DROP_SCRIPT);

/** Entries of namespaces that opted out of coherence, in one bucket: no fences, whoever writes last wins. */
export class PlainEntries {
  readonly #bucket: Bucket;
  readonly #calls: RedisCalls;
  readonly #values: RedisValues;
  readonly #gather: Gather<string, Buffer | null>;
  /** What was begun last for a name, while it is under way: packing takes time, and must not bring back what was there before. */
  readonly #latest = new Map<string, symbol>();

  constructor(bucket: Bucket, calls: RedisCalls, values: RedisValues) {
    this.#bucket = bucket;
    this.#calls = calls;
    this.#values = values;
    const answer = async (names: readonly string[]): Promise<readonly (Buffer | null)[]> =>
      (await calls.command('plain', 'MGET', ...names)) as (Buffer | null)[];
    this.#gather = new Gather({ most: MAX_READ_TOGETHER, answer });
  }

  /** Rejects as a command does; so do the others. */
  async read(namespace: string, key: string): Promise<Entry | undefined> {
    this.#calls.counters.reads += 1;
    const { keys } = this.#bucket;
    const bytes = await this.#gather.ask(keys.plain(namespace, key));
    return bytes === null ? undefined : this.#values.open(keys, namespace, bytes);
  }

  async write(namespace: string, key: string, entry: Entry): Promise<'ok'> {
    const { keys } = this.#bucket;
    const name = keys.plain(namespace, key);
    const turn = Symbol(name);
    this.#latest.set(name, turn);
    try {
      const packed = await this.#values.pack(namespace, entry);
      if (packed.chunks.length > 0) await this.#values.writeChunks(keys, packed, ttlMs(entry));
      if (this.#latest.get(name) !== turn) {
        this.#values.discard(keys, packed);
        return 'ok';
      }
      const call = { keys: [name], args: [ttlMs(entry), packed.envelope] };
      this.#values.discardOf(keys, await this.#calls.script('plain', putScript, call), packed);
      return 'ok';
    } finally {
      if (this.#latest.get(name) === turn) this.#latest.delete(name);
    }
  }

  async delete(namespace: string, key: string): Promise<'ok'> {
    const { keys } = this.#bucket;
    const name = keys.plain(namespace, key);
    this.#latest.delete(name);
    this.#values.discardOf(keys, await this.#calls.script('plain', dropScript, { keys: [name], args: [] }), undefined);
    return 'ok';
  }
}
