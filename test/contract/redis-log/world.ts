import { decodeStored, encodeChunkList, encodeEntry, type Entry } from '@tidemark/proto';
import {
  bucketKeys,
  fenceMember,
  getTaggedCall,
  parseHeader,
  parsePair,
  promoteCall,
  type LogHeader,
} from '@tidemark/proto/redis';
import type { LogRedis } from './log-redis.ts';
import type { Random } from './random.ts';
import type { Scripts } from './scripts.ts';
import { nameOf, NAMES, PAIRS, Source, TAGS } from './source.ts';

const keys = bucketKeys('main', 0);

/** Somebody who applies records. */
export interface WorldApplier {
  /** The header that it saw last. */
  readonly seen: string;
  /** Does something and tells what. */
  act(): Promise<string>;
}

type Act = () => Promise<string> | string;

/**
 * A history of one fence log on a real Redis: transactions, records, appliers with different rules, fills, evictions of
 * single keys, snapshots and restores, in any order. After each step every entry that a reader would take must reflect
 * everything that was committed up to the log's `to`: the promise on which the sidecar's own check builds (SPEC I7).
 */
export class World {
  readonly source: Source;
  readonly #redis: LogRedis;
  readonly #scripts: Scripts;
  readonly #random: Random;
  readonly #promoting: Random | undefined;
  /** Entries as readers have seen them, with the log that they were seen under. */
  readonly #sights = new Map<
    string,
    { readonly header: LogHeader; readonly entry: Entry; readonly stored: Uint8Array }
  >();
  readonly #appliers: WorldApplier[] = [];
  #snapshot: readonly (readonly [string, Buffer])[] = [];
  #names = 0;
  /** What was done, for a person. */
  readonly log: string[] = [];
  /** Entries that a reader took, so that a test can see that there were any. */
  taken = 0;
  promoted = 0;

  /** @param options.promoting decides about promotions, which happen between the steps; there are none without it */
  constructor(redis: LogRedis, scripts: Scripts, random: Random, options: { promoting?: Random } = {}) {
    this.#promoting = options.promoting;
    this.#redis = redis;
    this.#scripts = scripts;
    this.#random = random;
    this.source = new Source(random);
  }

  add(applier: WorldApplier): void {
    this.#appliers.push(applier);
  }

  /** A name that was not used before. */
  fresh(prefix: string): string {
    this.#names += 1;
    return `${prefix}${this.#names}`;
  }

  /** Does one thing at random and looks at what could be read then. Returns what is wrong, if anything. */
  async step(): Promise<string | undefined> {
    const applier = this.#random.pick(this.#appliers);
    await this.#do([
      [4, 'publish', () => this.source.publish()],
      [10, 'apply', () => applier.act()],
      [8, 'fill', () => this.fill()],
      [4, 'disturb', () => this.disturb()],
    ]);
    const wrong = await this.findStale();
    if (wrong !== undefined || this.#promoting === undefined) return wrong;
    this.log.push(`promote: ${await this.#promote(this.#promoting)}`);
    return this.findStale();
  }

  /** What happens to Redis and Kafka behind everybody's back. */
  disturb(): Promise<string> {
    return this.#do([
      [10, 'evict', () => this.#evict()],
      [16, 'save', () => this.#save()],
      [8, 'restore', () => this.#restore()],
      [3, 'lose', () => this.source.lose()],
      [3, 'new epoch', () => this.source.newEpoch()],
      [1, 'forget', () => this.source.forget()],
      [1, 'flush', () => this.#redis.flushdb()],
    ]);
  }

  /** A value that reflects everything up to some position, perhaps long ago, perhaps under a generation that is gone. */
  async fill(): Promise<string> {
    const { below, pick } = this.#random;
    const text = below(8) === 0 ? pick(this.#appliers).seen : ((await this.#redis.get(keys.log)) ?? '');
    const header = parseHeader(text);
    if (header === undefined) return 'no log';
    const { first, last } = this.source.range(header.epoch);
    const tags = below(3) === 0 ? [] : TAGS.filter(() => below(2) === 0);
    return this.put(header, { pair: pick(PAIRS), name: pick(NAMES), tags, asOf: Math.max(first, last - below(20)) });
  }

  /** Stores an entry under a header that was seen. */
  async put(
    header: LogHeader,
    { pair, name, tags, asOf }: { pair: string; name: string; tags: readonly string[]; asOf: number },
  ): Promise<string> {
    const { generation, epoch } = header;
    const entry = keys.entry(generation, pair, name);
    const fillKeys = [keys.log, keys.keyFences, keys.tagFences, keys.pair(pair), entry];
    const envelope = Buffer.from(envelopeOf(asOf, epoch, tags));
    const args = [generation, epoch, asOf, 600_000, fenceMember(pair, name), envelope];
    const members = tags.map((tag) => fenceMember(pair, tag));
    const answer = await this.#redis.eval(this.#scripts.fill, fillKeys.length, ...fillKeys, ...args, ...members);
    return `${nameOf(pair)}:${name} [${tags.join(' ')}] as of ${asOf} in ${generation}: ${String(answer)}`;
  }

  /** Somebody stores what is new; a sidecar promotes what it has just read, or comes late with what it read long ago. */
  async #promote(random: Random): Promise<string> {
    const { below, pick } = random;
    const header = parseHeader((await this.#redis.get(keys.log)) ?? '');
    const told: string[] = [];
    if (header !== undefined && below(2) === 0) {
      const tags = TAGS.filter(() => below(2) === 0);
      const asOf = Math.max(this.source.range(header.epoch).first, header.to - below(4));
      told.push(await this.put(header, { pair: pick(PAIRS), name: pick(NAMES), tags, asOf }));
    }
    for (const pair of PAIRS)
      for (const name of NAMES) if (below(2) === 0) told.push(await this.#promoteOne(random, header, { pair, name }));
    return told.filter((one) => one !== '').join(', ');
  }

  async #promoteOne(
    { below }: Random,
    header: LogHeader | undefined,
    { pair, name }: { pair: string; name: string },
  ): Promise<string> {
    const place = `${nameOf(pair)}:${name}`;
    const bytes = header && (await this.#entryBytes(header, pair, name));
    const entry = bytes && decodeStored(bytes)?.entry;
    const sight = header && entry && { header, entry, stored: bytes };
    const seen = below(3) === 0 ? this.#sights.get(place) : sight;
    if (sight !== undefined && below(4) === 0) this.#sights.set(place, sight);
    if (seen === undefined) return '';
    const { generation, to } = seen.header;
    const call = promoteCall(keys, { generation, pair, name, entry: seen.entry, stored: seen.stored, to });
    const args = call.args.map((arg) => (arg instanceof Uint8Array ? Buffer.from(arg) : arg));
    const answer = await this.#redis.eval(this.#scripts.promote, call.keys.length, ...call.keys, ...args);
    if (answer === 'ok') this.promoted += 1;
    return `${place} as of ${seen.entry.asOf} to ${to} in ${generation}: ${String(answer)}`;
  }

  async #entryBytes(header: LogHeader, pair: string, name: string): Promise<Buffer | undefined> {
    const key = keys.entry(header.generation, pair, name);
    return ((await this.#redis.callBuffer('GET', key)) as Buffer | null) ?? undefined;
  }

  /** Reads every key as a sidecar does. Returns what is wrong, if anything. */
  async findStale(): Promise<string | undefined> {
    const header = parseHeader((await this.#redis.get(keys.log)) ?? '');
    if (header === undefined) return undefined;
    const places = PAIRS.flatMap((pair) => NAMES.map((name) => ({ pair, name })));
    const entries = await Promise.all(places.map(({ pair, name }) => this.#read(header, pair, name)));
    for (const [i, entry] of entries.entries()) {
      const place = places[i];
      if (entry === undefined || place === undefined) continue;
      this.taken += 1;
      const missed = this.source.missed(entry, { ...place, to: header.to });
      if (missed === undefined) continue;
      return `${nameOf(place.pair)}:${place.name} as of ${entry.asOf} misses ${JSON.stringify(missed)} under ${JSON.stringify(header)}`;
    }
    return undefined;
  }

  async #do(choices: readonly (readonly [weight: number, name: string, act: Act])[]): Promise<string> {
    const [name, act] = this.#random.weighted(choices.map(([weight, ...thing]) => [weight, thing] as const));
    const told = `${name}: ${await act()}`;
    this.log.push(told);
    return told;
  }

  /** What a Redis that needs memory does: any key, but mostly those that matter. */
  async #evict(): Promise<string> {
    const { pick, weighted } = this.#random;
    const log = [keys.log, keys.keyFences, keys.tagFences];
    const all = (await this.#redis.keys('*')).toSorted();
    const key = pick(
      weighted<readonly string[]>([
        [2, log],
        [5, PAIRS.map(keys.pair)],
        [3, [...log, ...all]],
      ]),
    );
    await this.#redis.del(key);
    return key;
  }

  async #save(): Promise<string> {
    const present = await this.#redis.keysBuffer('*');
    this.#snapshot = await Promise.all(
      present.map(async (key) => [key.toString(), await this.#redis.dumpBuffer(key)] as const),
    );
    return `${present.length} keys`;
  }

  async #restore(): Promise<string> {
    await this.#redis.flushdb();
    for (const [key, dump] of this.#snapshot) await this.#redis.restore(key, 0, dump);
    return `"${(await this.#redis.get(keys.log)) ?? ''}"`;
  }

  async #read(header: LogHeader, pair: string, name: string): Promise<Entry | undefined> {
    const { getTagged } = this.#scripts;
    const call = getTaggedCall(keys, { pairs: [pair], entries: [{ generation: header.generation, pair, name }] });
    const answer = await this.#redis.callBuffer('EVAL', getTagged, call.keys.length, ...call.keys, ...call.args);
    const [, pairText, bytes] = answer as [Buffer, Buffer | null, Buffer | null];
    const state = pairText === null ? undefined : parsePair(pairText.toString());
    const entry = bytes === null ? undefined : decodeStored(bytes)?.entry;
    if (state === undefined || entry === undefined || state.adoption !== header.adoption) return undefined;
    return entry.asOf < state.from || entry.asOf < state.fence || entry.epoch !== header.epoch ? undefined : entry;
  }
}

/** Of a value that is there itself, or whose chunks it names. */
function envelopeOf(asOf: number, epoch: number, tags: readonly string[]): Uint8Array {
  const entry = entryOf(asOf, epoch, tags);
  if (asOf % 3 !== 0) return encodeEntry(entry);
  const body = encodeChunkList('of-this-one-fill', [Uint8Array.of(1), Uint8Array.of(2)]);
  return encodeEntry({ ...entry, body }, { zstd: false, chunks: 2, bodyBytes: 2 });
}

function entryOf(asOf: number, epoch: number, tags: readonly string[]): Entry {
  const nothing = { absent: false, contentType: '', etag: '', body: new Uint8Array(0) };
  return { asOf, epoch, storedAtMs: 0, freshUntilMs: 1, expiresAtMs: 1, keepUntilMs: 1, loadMs: 0, tags, ...nothing };
}
