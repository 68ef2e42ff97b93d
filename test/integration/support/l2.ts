import { decodeStored, encodeEntry, rulesOfSource, type NamespaceRules, type TidemarkConfig } from '@tidemark/proto';
import {
  bucketKeys,
  bucketOf,
  FILL_SCRIPT,
  GET_TAGGED_SCRIPT,
  getTaggedCall,
  parseHeader,
  parsePair,
  fenceMember,
  type BucketKeys,
  type LogHeader,
} from '@tidemark/proto/redis';
import { Redis } from 'ioredis';
import { eventually } from './eventually.ts';

const SOURCE = 'main';

/** The fence logs and entries of a source in Redis, as a sidecar uses them. */
export class L2 {
  readonly redis: Redis;
  readonly #buckets: number;
  readonly #namespaces: ReadonlyMap<string, NamespaceRules>;

  constructor(url: string, config: TidemarkConfig) {
    this.redis = new Redis(url, { protocol: 2, retryStrategy: () => 50, maxRetriesPerRequest: null });
    this.redis.on('error', () => undefined); // tests stop it
    this.#buckets = config.sources[SOURCE]?.l2.buckets ?? 1;
    this.#namespaces = rulesOfSource(config, SOURCE).byName;
  }

  /** Identities of the rules of all namespaces but these. */
  covers(...without: readonly string[]): bigint[] {
    return [...this.#namespaces.values()].filter(({ name }) => !without.includes(name)).map(({ hash }) => hash);
  }

  async header(bucket = 0): Promise<LogHeader> {
    const header = parseHeader((await this.redis.get(bucketKeys(SOURCE, bucket).log)) ?? '');
    if (header === undefined) throw new Error(`bucket ${bucket} has no log`);
    return header;
  }

  /** Waits until every log has reached a position. */
  async reaches(to: number, withinMs = 60_000): Promise<LogHeader> {
    for (let bucket = 0; bucket < this.#buckets; bucket++) {
      const check = async (): Promise<void> => {
        const reached = (await this.header(bucket)).to;
        if (reached < to) throw new Error(`the log of bucket ${bucket} is at ${reached}, before ${to}`);
      };
      await eventually(check, { withinMs });
    }
    return this.header();
  }

  /** Stores a value as read at a position; answers what the script says. */
  async fill(namespace: string, key: string, options: { asOf: number; tags?: readonly string[] }): Promise<unknown> {
    const { asOf, tags = [] } = options;
    const { keys, hash, bucket } = this.#place(namespace, key);
    const { generation, epoch } = await this.header(bucket);
    const envelope = encodeEntry({ ...textEntry(`${key} as of ${asOf}`), asOf, epoch, tags });
    return this.redis.eval(
      FILL_SCRIPT,
      5,
      ...[keys.log, keys.keyFences, keys.tagFences, keys.pair(hash), keys.entry(generation, hash, key)],
      ...[generation, epoch, asOf, 600_000, fenceMember(hash, key), Buffer.from(envelope)],
      ...tags.map((tag) => fenceMember(hash, tag)),
    );
  }

  /** Puts an entry where a reader finds it, past the scripts: whatever fences say. */
  async plant(namespace: string, key: string, options: { asOf: number }): Promise<void> {
    const { keys, hash, bucket } = this.#place(namespace, key);
    const { generation, epoch } = await this.header(bucket);
    const envelope = encodeEntry({ ...textEntry(key), asOf: options.asOf, epoch, tags: [] });
    await this.redis.set(keys.entry(generation, hash, key), Buffer.from(envelope), 'PX', 600_000);
  }

  /** Whether a reader would get an entry for the key. */
  async has(namespace: string, key: string): Promise<boolean> {
    const { keys, hash, bucket } = this.#place(namespace, key);
    const header = await this.header(bucket);
    const entries = [{ generation: header.generation, pair: hash, name: key }];
    const call = getTaggedCall(keys, { pairs: [hash], entries });
    const answer = await this.redis.callBuffer('EVAL', GET_TAGGED_SCRIPT, call.keys.length, ...call.keys, ...call.args);
    const [, pairText, bytes] = answer as [unknown, Buffer | null, Buffer | null];
    const pair = parsePair(pairText?.toString() ?? '');
    const entry = bytes === null ? undefined : decodeStored(bytes)?.entry;
    if (pair === undefined || entry === undefined || pair.adoption !== header.adoption) return false;
    return entry.asOf >= pair.from && entry.asOf >= pair.fence;
  }

  #place(namespace: string, key: string): { keys: BucketKeys; hash: string; bucket: number } {
    const hash = this.#namespaces.get(namespace)?.hashHex;
    if (hash === undefined) throw new Error(`no namespace ${namespace}`);
    const bucket = bucketOf(this.#buckets, hash, key);
    return { keys: bucketKeys(SOURCE, bucket), hash, bucket };
  }
}

function textEntry(text: string) {
  const until = Date.now() + 600_000;
  const times = { storedAtMs: Date.now(), freshUntilMs: until, expiresAtMs: until, keepUntilMs: until, loadMs: 0 };
  return { ...times, absent: false, contentType: 'text/plain', etag: '"1"', body: new TextEncoder().encode(text) };
}

/** Value of a metric, labels and all, as `/metrics` shows it; 0 when it is not there. */
export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}
