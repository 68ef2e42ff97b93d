import { bucketKeys, bucketOf, HOT_SCRIPT } from '@tidemark/proto/redis';
import { redisScript } from '@tidemark/runtime';
import type { Claimable } from '../../core/ports.ts';
import type { HotList, NoKeys } from '../../core/warm-ports.ts';
import type { RedisCalls } from './calls.ts';

/** Keys of a namespace that are kept; nobody can warm more. */
const MAX_MEMBERS = 10_000;
/** What was read once weighs half as much 13 minutes later. */
const DECAY_MS = 60_000;
const DECAY_FACTOR = 0.95;
const TTL_MS = 7 * 86_400_000;
/** As for keys that are cached (http/address.ts). */
const MAX_KEY_BYTES = 512;

const hotScript = redisScript(HOT_SCRIPT);

/** The lists of what sidecars read most, in Redis. */
export class RedisHotList implements HotList {
  readonly #calls: RedisCalls;
  readonly #source: string;
  readonly #buckets: number;

  constructor(options: { calls: RedisCalls; source: string; buckets: number }) {
    this.#calls = options.calls;
    this.#source = options.source;
    this.#buckets = options.buckets;
  }

  get available(): boolean {
    return this.#calls.isUp;
  }

  async add(namespace: Claimable, keys: readonly string[]): Promise<void> {
    const { hot, decay } = this.#namesOf(namespace);
    // By their rank, so that a sidecar with more readers has no more to say than another.
    const weighted = keys.flatMap((key, rank) => [key, (1 - rank / keys.length).toFixed(4)]);
    const args = [MAX_MEMBERS, DECAY_MS, DECAY_FACTOR, TTL_MS, ...weighted];
    await this.#calls.inTime(() => this.#calls.script('hot', hotScript, { keys: [hot, decay], args }));
  }

  async read(namespace: Claimable, most: number): Promise<readonly string[] | NoKeys> {
    const { hot } = this.#namesOf(namespace);
    const found = await this.#calls.inTime(
      async () => (await this.#calls.command('hot', 'ZREVRANGE', hot, 0, most - 1)) as Buffer[],
    );
    if (typeof found === 'string') return { failed: `Redis did not answer in time or not at all (${found})` };
    // Anybody may have written there.
    return found.filter(({ length }) => length > 0 && length <= MAX_KEY_BYTES).map((key) => key.toString());
  }

  #namesOf(namespace: Claimable): { readonly hot: string; readonly decay: string } {
    const scope = typeof namespace === 'string' ? namespace : namespace.hashHex;
    const keys = bucketKeys(this.#source, bucketOf(this.#buckets, scope, ''));
    return { hot: keys.hot(scope), decay: keys.decay(scope) };
  }
}
