import type { Entry, Lsn, NamespaceRules } from '@tidemark/proto';
import {
  bucketKeys,
  bucketOf,
  fenceMember,
  FILL_SCRIPT,
  parseHeader,
  promoteCall,
  PROMOTE_SCRIPT,
  RELEASE_SCRIPT,
  type LogHeader,
} from '@tidemark/proto/redis';
import {
  redisScript,
  type PackedEntry,
  type PackingCounters,
  type PackingSettings,
  type RedisClient,
} from '@tidemark/runtime';
import type { Claimable, Clock, L2Failure, L2FillResult, L2Found, L2Store } from '../../core/ports.ts';
import { RedisCalls, type L2Counters } from './calls.ts';
import { RedisHotList } from './hot-list.ts';
import { PlainEntries } from './plain.ts';
import { BucketReads, type Bucket } from './reads.ts';
import { RedisValues, ttlMs } from './values.ts';

const fillScript = redisScript(FILL_SCRIPT);
const promoteScript = redisScript(PROMOTE_SCRIPT);
const releaseScript = redisScript(RELEASE_SCRIPT);

export interface RedisStoreOptions {
  readonly client: RedisClient;
  readonly source: string;
  readonly buckets: number;
  /** How the entries of a namespace lie there; asked whenever one is stored or read. */
  readonly packing: (namespace: string) => PackingSettings;
  /** For each call as a whole, however many commands it takes. */
  readonly deadlineMs: number;
  /** Measures the deadline; the system's unless told. */
  readonly clock?: Clock;
  /** Told the duration of each command that was answered, in milliseconds. */
  readonly onLatency: (ms: number) => void;
}

/** What is stored and read in one bucket. */
interface Place extends Bucket {
  readonly reads: BucketReads;
  readonly plain: PlainEntries;
}

/** L2 on Redis: the layout and scripts of proto/src/redis. Learns the generation of each fence log from what it reads. */
export class RedisStore implements L2Store {
  readonly #calls: RedisCalls;
  readonly #values: RedisValues;
  readonly #places: readonly Place[];
  /** What sidecars read most. */
  readonly hotList: RedisHotList;

  constructor(options: RedisStoreOptions) {
    const calls = new RedisCalls(options);
    const values = new RedisValues(calls, options.packing);
    this.#calls = calls;
    this.#values = values;
    this.hotList = new RedisHotList({ ...options, calls });
    this.#places = Array.from({ length: options.buckets }, (_, i) => {
      const bucket: Bucket = { keys: bucketKeys(options.source, i), generation: undefined };
      return Object.assign(bucket, {
        reads: new BucketReads(bucket, calls),
        plain: new PlainEntries(bucket, calls, values),
      });
    });
  }

  get available(): boolean {
    return this.#calls.isUp;
  }

  get counters(): L2Counters {
    return this.#calls.counters;
  }

  get packing(): PackingCounters {
    return this.#values.packer.counters;
  }

  read(namespace: NamespaceRules, key: string): Promise<L2Found | L2Failure> {
    return this.#calls.inTime(async () => {
      const { keys, reads } = this.#placeOf(namespace, key);
      const { context, generation, bytes: stored } = await reads.read(namespace, key);
      const opened = stored && this.#values.open(keys, namespace.name, stored);
      const entry = opened instanceof Promise ? await opened : opened;
      return { context, generation, entry, stored };
    });
  }

  fill(namespace: NamespaceRules, key: string, entry: Entry): Promise<L2FillResult> {
    return this.#calls.inTime(async () => {
      const place = this.#placeOf(namespace, key);
      place.generation ??= (await this.#header(place))?.generation;
      const result = place.generation === undefined ? 'missing' : await this.#fillIn(place, namespace, { key, entry });
      this.counters.fills.set(result, (this.counters.fills.get(result) ?? 0) + 1);
      return result;
    });
  }

  promote(namespace: NamespaceRules, key: string, found: L2Found, to: Lsn): Promise<L2FillResult> {
    return this.#calls.inTime(async () => {
      const { keys } = this.#placeOf(namespace, key);
      const { entry, stored, generation } = found;
      if (entry === undefined || stored === undefined) return 'missing';
      const call = promoteCall(keys, { generation, pair: namespace.hashHex, name: key, entry, stored, to });
      return String(await this.#calls.script('promote', promoteScript, call)) as L2FillResult;
    });
  }

  readPlain(namespace: string, key: string): Promise<Entry | undefined | L2Failure> {
    return this.#calls.inTime(() => this.#placeOf(namespace, key).plain.read(namespace, key));
  }

  writePlain(namespace: string, key: string, entry: Entry): Promise<'ok' | L2Failure> {
    return this.#calls.inTime(() => this.#placeOf(namespace, key).plain.write(namespace, key, entry));
  }

  deletePlain(namespace: string, key: string): Promise<'ok' | L2Failure> {
    return this.#calls.inTime(() => this.#placeOf(namespace, key).plain.delete(namespace, key));
  }

  claim(
    namespace: Claimable,
    key: string,
    claim: { readonly token: string; readonly ttlMs: number },
  ): Promise<'granted' | 'taken' | L2Failure> {
    return this.#calls.inTime(async () => {
      const name = this.#placeOf(namespace, key).keys.claim(scopeOf(namespace), key);
      const ms = Math.max(1, Math.ceil(claim.ttlMs));
      const answer = await this.#calls.command('claim', 'SET', name, claim.token, 'NX', 'PX', ms);
      return answer === null ? 'taken' : 'granted';
    });
  }

  release(namespace: Claimable, key: string, token: string): Promise<'released' | 'gone' | L2Failure> {
    return this.#calls.inTime(async () => {
      const keys = [this.#placeOf(namespace, key).keys.claim(scopeOf(namespace), key)];
      return (await this.#calls.script('claim', releaseScript, { keys, args: [token] })) === 1 ? 'released' : 'gone';
    });
  }

  /** The header of one fence log; also finds out that a Redis that was away answers again. */
  probe(): Promise<LogHeader | undefined | L2Failure> {
    return this.#calls.inTime(() => this.#header(this.#places[0] as Place));
  }

  /** Under the generation that is known, and if the log began anew since under that. */
  async #fillIn(
    place: Place,
    namespace: NamespaceRules,
    { key, entry }: { key: string; entry: Entry },
  ): Promise<L2FillResult> {
    const packed = await this.#values.pack(namespace.name, entry);
    if (packed.chunks.length > 0) await this.#values.writeChunks(place.keys, packed, ttlMs(entry));
    const what = { key, entry, packed };
    let result = await this.#fillUnder(place, namespace, what);
    if (result === 'changed') {
      const before = place.generation;
      place.generation = (await this.#header(place))?.generation;
      if (place.generation !== before) result = await this.#fillUnder(place, namespace, what);
    }
    if (result !== 'ok') this.#values.discard(place.keys, packed);
    return result;
  }

  async #fillUnder(
    { keys, generation }: Place,
    { hashHex }: NamespaceRules,
    { key, entry, packed }: { key: string; entry: Entry; packed: PackedEntry },
  ): Promise<L2FillResult> {
    if (generation === undefined) return 'missing';
    const { epoch, asOf, tags } = entry;
    const answer = await this.#calls.script('fill', fillScript, {
      keys: [keys.log, keys.keyFences, keys.tagFences, keys.pair(hashHex), keys.entry(generation, hashHex, key)],
      args: [
        ...[generation, epoch, asOf, ttlMs(entry), fenceMember(hashHex, key), packed.envelope],
        ...tags.map((tag) => fenceMember(hashHex, tag)),
      ],
    });
    if (!Array.isArray(answer)) return String(answer) as L2FillResult;
    this.#values.discardOf(keys, answer[1], packed);
    return 'ok';
  }

  async #header(place: Place): Promise<LogHeader | undefined> {
    const bytes = (await this.#calls.command('probe', 'GET', place.keys.log)) as Buffer | null;
    const header = bytes === null ? undefined : parseHeader(bytes.toString('latin1'));
    if (header !== undefined) place.generation = header.generation;
    return header;
  }

  #placeOf(namespace: Claimable, key: string): Place {
    return this.#places[bucketOf(this.#places.length, scopeOf(namespace), key)] as Place;
  }
}

function scopeOf(namespace: Claimable): string {
  return typeof namespace === 'string' ? namespace : namespace.hashHex;
}
