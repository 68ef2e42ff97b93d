import { decodeEntry, encodeEntry, isTagged, type Entry, type Lsn, type NamespaceRules } from '@tidemark/proto';
import {
  bucketKeys,
  bucketOf,
  fenceMember,
  FILL_SCRIPT,
  GET_TAGGED_SCRIPT,
  parseHeader,
  promoteCall,
  PROMOTE_SCRIPT,
  RELEASE_SCRIPT,
  type BucketKeys,
  type LogHeader,
} from '@tidemark/proto/redis';
import { DeadlineError, Deadlines, redisScript, RedisUnavailableError, type RedisClient } from '@tidemark/runtime';
import type { Claimable, Clock, L2Failure, L2FillResult, L2Found, L2Store } from '../core/ports.ts';

const fillScript = redisScript(FILL_SCRIPT);
const promoteScript = redisScript(PROMOTE_SCRIPT);
const releaseScript = redisScript(RELEASE_SCRIPT);
const taggedScript = redisScript(GET_TAGGED_SCRIPT);

interface Bucket {
  readonly keys: BucketKeys;
  /** Of the fence log, as it was last seen; undefined until then. */
  generation: string | undefined;
}

type Command = 'read' | 'read-tagged' | 'fill' | 'promote' | 'plain' | 'probe' | 'claim';

/** What commands to Redis did, for metrics. */
export class L2Counters {
  readonly commands: Record<Command, number> = {
    ...{ read: 0, 'read-tagged': 0, fill: 0, promote: 0, plain: 0, probe: 0, claim: 0 },
  };
  readonly failures = { deadline: 0, unavailable: 0, error: 0, damaged: 0 };
  readonly fills = new Map<string, number>();
}

export interface RedisStoreOptions {
  readonly client: RedisClient;
  readonly source: string;
  readonly buckets: number;
  /** For each call as a whole, however many commands it takes. */
  readonly deadlineMs: number;
  /** Measures the deadline; the system's unless told. */
  readonly clock?: Clock;
  /** Told the duration of each command that was answered, in milliseconds. */
  readonly onLatency: (ms: number) => void;
}

/** L2 on Redis: the layout and scripts of proto/src/redis. Learns the generation of each fence log from what it reads. */
export class RedisStore implements L2Store {
  readonly counters = new L2Counters();
  readonly #client: RedisClient;
  readonly #source: string;
  readonly #buckets: readonly Bucket[];
  readonly #onLatency: (ms: number) => void;
  readonly #deadlines: Deadlines;

  constructor(options: RedisStoreOptions) {
    this.#client = options.client;
    this.#source = options.source;
    this.#onLatency = options.onLatency;
    this.#deadlines = new Deadlines('Redis', options.deadlineMs, options.clock);
    this.#buckets = Array.from({ length: options.buckets }, (_, i) => ({
      keys: bucketKeys(options.source, i),
      generation: undefined,
    }));
  }

  get available(): boolean {
    return this.#client.isUp;
  }

  read(namespace: NamespaceRules, key: string): Promise<L2Found | L2Failure> {
    return this.#inTime(async () => {
      const bucket = this.#bucketOf(namespace, key);
      const found = await this.#readUnder(bucket, namespace, key, bucket.generation);
      const generation = found.context.log === undefined ? undefined : parseHeader(found.context.log)?.generation;
      if (generation === undefined || generation === found.generation) return found;
      // The log began anew since it was last seen: what is cached there stands under other names.
      bucket.generation = generation;
      return this.#readUnder(bucket, namespace, key, generation);
    });
  }

  fill(namespace: NamespaceRules, key: string, entry: Entry): Promise<L2FillResult> {
    return this.#inTime(async () => {
      const bucket = this.#bucketOf(namespace, key);
      bucket.generation ??= (await this.#header(bucket))?.generation;
      let result = await this.#fillUnder(bucket, namespace, key, entry);
      if (result === 'changed') {
        const before = bucket.generation;
        bucket.generation = (await this.#header(bucket))?.generation;
        if (bucket.generation !== before) result = await this.#fillUnder(bucket, namespace, key, entry);
      }
      this.counters.fills.set(result, (this.counters.fills.get(result) ?? 0) + 1);
      return result;
    });
  }

  promote(namespace: NamespaceRules, key: string, entry: Entry, to: Lsn): Promise<L2FillResult> {
    return this.#inTime(async () => {
      const { keys, generation } = this.#bucketOf(namespace, key);
      if (generation === undefined) return 'missing';
      const call = promoteCall(keys, { generation, pair: namespace.hashHex, name: key, entry, to });
      const args = call.args.map((arg) => (arg instanceof Uint8Array ? asBuffer(arg) : arg));
      const answer = await this.#timed('promote', () => this.#client.script(promoteScript, call.keys, args));
      return String(answer) as L2FillResult;
    });
  }

  readPlain(namespace: string, key: string): Promise<Entry | undefined | L2Failure> {
    return this.#inTime(async () => {
      const bytes = await this.#timed('plain', () => this.#client.command('GET', this.#plainKey(namespace, key)));
      return bytes === null ? undefined : this.#decode(bytes as Buffer);
    });
  }

  writePlain(namespace: string, key: string, entry: Entry): Promise<'ok' | L2Failure> {
    return this.#inTime(async () => {
      const bytes = asBuffer(encodeEntry(entry));
      await this.#timed('plain', () =>
        this.#client.command('SET', this.#plainKey(namespace, key), bytes, 'PX', ttlMs(entry)),
      );
      return 'ok' as const;
    });
  }

  deletePlain(namespace: string, key: string): Promise<'ok' | L2Failure> {
    return this.#inTime(async () => {
      await this.#timed('plain', () => this.#client.command('UNLINK', this.#plainKey(namespace, key)));
      return 'ok' as const;
    });
  }

  claim(
    namespace: Claimable,
    key: string,
    { token, ttlMs: lengthMs }: { token: string; ttlMs: number },
  ): Promise<'granted' | 'taken' | L2Failure> {
    return this.#inTime(async () => {
      const name = this.#claimKey(namespace, key);
      const ms = Math.max(1, Math.ceil(lengthMs));
      const answer = await this.#timed('claim', () => this.#client.command('SET', name, token, 'NX', 'PX', ms));
      return answer === null ? ('taken' as const) : ('granted' as const);
    });
  }

  release(namespace: Claimable, key: string, token: string): Promise<'released' | 'gone' | L2Failure> {
    return this.#inTime(async () => {
      const name = this.#claimKey(namespace, key);
      const gone = await this.#timed('claim', () => this.#client.script(releaseScript, [name], [token]));
      return gone === 1 ? ('released' as const) : ('gone' as const);
    });
  }

  /** The header of one fence log; also finds out that a Redis that was away answers again. */
  probe(): Promise<LogHeader | undefined | L2Failure> {
    return this.#inTime(() => this.#header(this.#buckets[0] as Bucket));
  }

  async #readUnder(bucket: Bucket, namespace: NamespaceRules, key: string, generation = ''): Promise<L2Found> {
    const { keys } = bucket;
    const names = [keys.log, keys.pair(namespace.hashHex), keys.entry(generation, namespace.hashHex, key)];
    let answer = (await this.#timed('read', () => this.#client.command('MGET', ...names))) as (Buffer | null)[];
    const bytes = answer[2];
    if (bytes && isTagged(bytes)) {
      answer = (await this.#timed('read-tagged', () =>
        this.#client.script(taggedScript, [...names, keys.tagFences], [`${namespace.hashHex}:`]),
      )) as (Buffer | null)[];
    }
    const [log, pair, entry] = answer;
    return {
      context: { log: log?.toString('latin1'), pair: pair?.toString('latin1') },
      generation,
      entry: entry ? this.#decode(entry) : undefined,
    };
  }

  async #fillUnder(bucket: Bucket, namespace: NamespaceRules, key: string, entry: Entry): Promise<L2FillResult> {
    const { keys, generation } = bucket;
    if (generation === undefined) return 'missing';
    const { hashHex } = namespace;
    const answer = await this.#timed('fill', () =>
      this.#client.script(
        fillScript,
        [keys.log, keys.keyFences, keys.tagFences, keys.pair(hashHex), keys.entry(generation, hashHex, key)],
        [
          generation,
          entry.epoch,
          entry.asOf,
          ttlMs(entry),
          fenceMember(hashHex, key),
          asBuffer(encodeEntry(entry)),
          ...entry.tags.map((tag) => fenceMember(hashHex, tag)),
        ],
      ),
    );
    return String(answer) as L2FillResult;
  }

  async #header(bucket: Bucket): Promise<LogHeader | undefined> {
    const bytes = (await this.#timed('probe', () => this.#client.command('GET', bucket.keys.log))) as Buffer | null;
    const header = bytes === null ? undefined : parseHeader(bytes.toString('latin1'));
    if (header !== undefined) bucket.generation = header.generation;
    return header;
  }

  #bucketOf(namespace: NamespaceRules, key: string): Bucket {
    return this.#buckets[bucketOf(this.#buckets.length, namespace.hashHex, key)] as Bucket;
  }

  /** Not in a fence log's slot: nothing has to be atomic with it. */
  #plainKey(namespace: string, key: string): string {
    return `tidemark1:P:${this.#source}:${namespace}:${key}`;
  }

  /** With rules in the slot of its fence log, so that a node of a cluster that is away takes both along. */
  #claimKey(namespace: Claimable, key: string): string {
    if (typeof namespace === 'string') return `tidemark1:C:${this.#source}:${namespace}:${key}`;
    return this.#bucketOf(namespace, key).keys.claim(namespace.hashHex, key);
  }

  /** The body gets memory of its own: the client's buffer may be a small part of a large one. */
  #decode(bytes: Buffer): Entry | undefined {
    const entry = decodeEntry(bytes);
    if (entry === undefined) {
      this.counters.failures.damaged += 1;
      return undefined;
    }
    const body = Buffer.allocUnsafeSlow(entry.body.length);
    body.set(entry.body);
    return { ...entry, body };
  }

  async #timed<T>(command: Command, send: () => Promise<T>): Promise<T> {
    this.counters.commands[command] += 1;
    const startedAtMs = performance.now();
    const answer = await send();
    this.#onLatency(performance.now() - startedAtMs);
    return answer;
  }

  async #inTime<T>(work: () => Promise<T>): Promise<T | L2Failure> {
    try {
      return await this.#deadlines.race(work());
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): L2Failure {
    const { failures } = this.counters;
    if (error instanceof DeadlineError) failures.deadline += 1;
    else if (error instanceof RedisUnavailableError) failures.unavailable += 1;
    else {
      failures.error += 1;
      return 'lost';
    }
    return 'away';
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** How long it may be of use, however long ago it was stored. Redis refuses a TTL of 0. */
function ttlMs(entry: Entry): number {
  return Math.max(1, Math.round(entry.keepUntilMs - Math.max(entry.storedAtMs, Date.now())));
}
