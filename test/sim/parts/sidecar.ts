import { compileRules, L1_POLICIES, type L1Policy } from '@tidemark/proto';
import { createPolicy } from '../../../sidecar/src/adapters/l1/policies.ts';
import { sizeOf } from '../../../sidecar/src/adapters/l1/size.ts';
import { MemoryStore } from '../../../sidecar/src/adapters/l1/store.ts';
import { RedisStore } from '../../../sidecar/src/adapters/redis/store.ts';
import { Clearance } from '../../../sidecar/src/core/clearance.ts';
import { Coalescer } from '../../../sidecar/src/core/coalescer.ts';
import { Configuration } from '../../../sidecar/src/core/configuration.ts';
import { Evictor } from '../../../sidecar/src/core/evictor.ts';
import { Filler, type Fill, type FillOutcome } from '../../../sidecar/src/core/filler.ts';
import type { Outcome, ValueFrom, Waiter } from '../../../sidecar/src/core/flights.ts';
import { Follower } from '../../../sidecar/src/core/follower.ts';
import { USUAL, type Accepts } from '../../../sidecar/src/core/freshness.ts';
import { Grace } from '../../../sidecar/src/core/grace.ts';
import { L2Look } from '../../../sidecar/src/core/l2-look.ts';
import { Leases } from '../../../sidecar/src/core/leases.ts';
import { Loads } from '../../../sidecar/src/core/loads.ts';
import type { Namespace } from '../../../sidecar/src/core/namespace.ts';
import type { L2Store, Loaded, Loader } from '../../../sidecar/src/core/ports.ts';
import { Reader, type ReadMode } from '../../../sidecar/src/core/reader.ts';
import { SourceReplica, type ReplicaView } from '../../../sidecar/src/core/replica.ts';
import { Watermark } from '../../../sidecar/src/core/watermark.ts';
import { hitPath } from '../../../sidecar/src/http/hit-path.ts';
import { BUCKETS } from './applier.ts';
import { brokenStore, brokenView, passingToAll } from './broken.ts';
import { hitOf } from './hit.ts';
import { SimFeed } from './feed.ts';
import type { Topic } from './kafka.ts';
import type { SimDocument } from './documents.ts';
import { MAX_STALENESS_MS, type KeySpec } from './keys.ts';
import type { Channel, Network } from './network.ts';
import type { Oracle, ServedFrom, Standpoint } from './oracle.ts';
import { SimRedisClient, type ScriptSabotage, type SimRedis } from '../redis/client.ts';
import type { ConfigurationParts, SidecarSabotage } from './sabotage.ts';
import { nothing } from './silent.ts';
import { SimClock, type VirtualTime } from './time.ts';

export interface SidecarOptions {
  readonly name: string;
  readonly time: VirtualTime;
  readonly network: Network;
  readonly topic: Topic;
  readonly redis: SimRedis;
  readonly oracle: Oracle;
  readonly sabotage: SidecarSabotage;
  readonly script: ScriptSabotage | undefined;
  /** Undefined: it has none yet. */
  readonly document: SimDocument | undefined;
  readonly fraction: () => number;
  readonly onLease: (sidecar: SimSidecar, spec: KeySpec, token: string) => void;
  /** How it loads keys of `byid` itself; undefined where callers do. */
  readonly load?: (sidecar: SimSidecar, spec: KeySpec) => Promise<Loaded>;
}

/** What a caller wants. */
export interface Wish {
  readonly mode?: ReadMode;
  readonly accepts?: Accepts;
}

/** How a read ended. */
export interface Answer {
  readonly from: Outcome['kind'] | ValueFrom;
  /** Undefined unless there is a value. */
  readonly body: Uint8Array | undefined;
}

/** Room for two entries: the least recently used goes. */
const L1_BYTES = 2_050;

/** One sidecar process, wired as sidecar/src/compose.ts wires it. */
export class SimSidecar {
  readonly name: string;
  readonly clock: SimClock;
  readonly #options: SidecarOptions;
  readonly #kafka: Channel;
  readonly #redis: SimRedisClient;
  readonly #configuration: Configuration;
  readonly #parts: ConfigurationParts;
  readonly #replica: SourceReplica;
  readonly #follower: Follower;
  readonly #reader: Reader;
  readonly #filler: Filler;
  readonly watermark: Watermark;
  readonly #hits: ReturnType<typeof hitPath>;
  readonly #feed: SimFeed;
  #document: SimDocument | undefined;
  #isDead = false;

  constructor(options: SidecarOptions) {
    const { name, network, redis, sabotage, script } = options;
    this.name = name;
    this.#options = options;
    this.clock = new SimClock(options.time);
    this.#kafka = network.open(this.clock);
    this.#redis = new SimRedisClient({ redis, network, clock: this.clock, sabotage: script });
    const evictor = new Evictor([]);
    const { clock } = this;
    this.#replica = new SourceReplica({
      rules: compileRules([]),
      evict: sabotage.evictions?.(evictor) ?? evictor,
      maxStalenessMs: MAX_STALENESS_MS,
      // So few that names collide now and then.
      fenceSlots: { keySlots: 32, tagSlots: 32 },
    });
    let tokens = 0;
    const random = { token: () => `${name}-${(tokens += 1)}`, fraction: options.fraction };
    const leases = new Leases({ ttlMs: 10_000, most: 100 });
    const limits = { waitMs: 2_000, waiters: 5, waitersPerKey: 3 };
    const coalescer = new Coalescer({ namespaces: [], replica: this.#view('granting'), leases, clock, random, limits });
    const l2 = this.#store();
    const look = new L2Look({ replica: this.#view('reading'), coalescer, l2, clock });
    void new Clearance({ ...{ replica: this.#replica, coalescer, look, l2, clock, random }, waitMs: 2_000 });
    this.#reader = new Reader({ coalescer, look, clock, random });
    this.#filler = new Filler({ replica: this.#view('filling'), leases, coalescer, l2, clock, random });
    this.watermark = new Watermark({ replica: this.#replica, clock, most: 10 });
    this.#follower = new Follower({
      ...{ replica: this.#replica, coalescer, watermark: this.watermark, clock },
      events: { state: nothing, irregular: nothing, applied: nothing },
    });
    const replica = this.#replica;
    // Whatever evicts, nothing stale may be left: each namespace of each sidecar has another policy.
    let created = name.charCodeAt(name.length - 1);
    const createL1 = () => {
      const policy = L1_POLICIES[(created += 1) % L1_POLICIES.length] as L1Policy;
      return new MemoryStore({ maxBytes: L1_BYTES, policy: createPolicy(policy, options.fraction) });
    };
    this.#configuration = new Configuration({
      source: 'main',
      served: undefined,
      replica,
      evictor,
      coalescer,
      createL1,
      createGrace: (config) => Grace.of(config, { clock, sizeOf }),
      createLoader: (of) => (of === 'byid' ? this.#loader() : undefined),
    });
    void new Loads({
      coalescer: sabotage.passesToAll === true ? passingToAll(coalescer) : coalescer,
      ...{ filler: this.#filler, replica: this.#view('loading'), clock, etagOf: () => '' },
    });
    this.#parts = { namespaces: this.#configuration.namespaces, replica, evictor, coalescer, leases };
    this.#hits = hitPath({
      ...{ namespaces: this.#configuration.namespaces, replica: this.#replica, coalescer, clock },
      fallback: () => undefined,
    });
    if (options.document !== undefined) this.take(options.document);
    this.#feed = new SimFeed({
      ...{ name, kafka: this.#kafka, clock, topic: options.topic, replica, follower: this.#follower },
      ...{ sabotage, oracle: options.oracle },
    });
    void this.#feed.follow();
  }

  get document(): SimDocument | undefined {
    return this.#document;
  }

  /** It hears of a document. */
  take(document: SimDocument): void {
    const { sabotage } = this.#options;
    const take = (): void => void this.#configuration.take(document.config);
    if (sabotage.take === undefined) take();
    else sabotage.take(take, this.#parts, document);
    this.#document = document;
  }

  get standpoint(): Standpoint {
    return this.#feed.standpoint;
  }

  get state(): string {
    return this.#replica.state(this.clock.monotonicMs());
  }

  kill(): void {
    this.#isDead = true;
    this.#feed.stop();
    this.clock.stop();
    this.#options.network.close(this.#kafka);
    this.#options.network.close(this.#redis.channel);
  }

  /** A GET. */
  get(
    spec: KeySpec,
    { mode = 'usual', accepts = USUAL }: Wish = {},
    onEnd: (answer: Answer) => void = nothing,
  ): Waiter | undefined {
    const hit = mode === 'usual' && accepts === USUAL ? this.#hit(spec) : undefined;
    if (hit !== undefined) {
      onEnd({ from: 'l1', body: hit });
      return undefined;
    }
    const namespace = this.#of(spec);
    if (namespace === undefined) {
      onEnd({ from: 'bypass', body: undefined });
      return undefined;
    }
    const asked = this.standpoint;
    return this.#reader.read({
      namespace,
      key: spec.key,
      mode,
      accepts,
      settle: (outcome) => {
        if (this.#isDead) return;
        if (outcome.kind === 'value') {
          if (outcome.refresh !== undefined) this.#options.onLease(this, spec, outcome.refresh.token);
          if (outcome.from !== 'pending') this.#served(spec, outcome.entry.body, { from: outcome.from, asked });
        } else if (outcome.kind === 'miss' && outcome.lease !== undefined)
          this.#options.onLease(this, spec, outcome.lease.token);
        onEnd(
          outcome.kind === 'value'
            ? { from: outcome.from, body: outcome.entry.body }
            : { from: outcome.kind, body: undefined },
        );
      },
    });
  }

  #loader(): Loader | undefined {
    const { load } = this.#options;
    if (load === undefined) return undefined;
    const specOf = (key: string): KeySpec => ({ namespace: 'byid', key, rows: [key], tags: [] });
    const { ignoreSourceLsn } = this.#options.sabotage;
    return {
      handles: () => true,
      load: async ({ key }) => {
        const loaded = await load(this, specOf(key));
        return ignoreSourceLsn === true && loaded.kind !== 'failed' ? { ...loaded, sourceLsn: undefined } : loaded;
      },
    };
  }

  leave(waiter: Waiter): void {
    this.#reader.leave(waiter);
  }

  /** Undefined when the process is gone. */
  put(
    spec: KeySpec,
    fill: Pick<Fill, 'token' | 'body' | 'sourceLsn'>,
    namespace = this.#of(spec),
  ): FillOutcome | undefined {
    if (this.#isDead || namespace === undefined) return undefined;
    const { sabotage } = this.#options;
    const { key, tags } = spec;
    const rest = { tags, absent: false, contentType: '', etag: '' };
    const sourceLsn = sabotage.ignoreSourceLsn === true ? undefined : fill.sourceLsn;
    return this.#filler.fill({ namespace, key, ...fill, sourceLsn, ...rest });
  }

  /** The same with a body that takes its time; the namespace was looked up before. */
  async putSlowly(spec: KeySpec, fill: Pick<Fill, 'token' | 'body' | 'sourceLsn'>, ms: number): Promise<void> {
    const namespace = this.#of(spec);
    await this.clock.sleep(ms);
    this.put(spec, fill, namespace);
  }

  abandon(spec: KeySpec, token: string): void {
    const namespace = this.#of(spec);
    if (!this.#isDead && namespace !== undefined) this.#filler.abandon(namespace, spec.key, token);
  }

  #hit(spec: KeySpec): Uint8Array | undefined {
    const body = hitOf(this.#hits, spec);
    if (body !== undefined) this.#served(spec, body, { from: 'l1', asked: this.standpoint });
    return body;
  }

  /** @param how.asked where the sidecar stood when the caller came */
  #served(spec: KeySpec, body: Uint8Array, { from, asked }: { from: ServedFrom; asked: Standpoint }): void {
    const at = from === 'passed' ? asked : this.standpoint;
    this.#options.oracle.value({ name: this.name, at, spec, body, from });
  }

  #of(spec: KeySpec): Namespace | undefined {
    return this.#configuration.namespaces.get(spec.namespace);
  }

  #view(part: 'granting' | 'filling' | 'reading' | 'loading'): ReplicaView {
    return brokenView(this.#replica, this.#options.sabotage[part]?.(this.#replica));
  }

  #store(): L2Store {
    const { found } = this.#options.sabotage;
    const store = new RedisStore({
      ...{ client: this.#redis, source: 'main', buckets: BUCKETS, deadlineMs: 50, clock: this.clock },
      packing: () => ({ compressOverBytes: Infinity, chunkBytes: Infinity, maxItemBytes: Infinity }),
      onLatency: nothing,
    });
    return brokenStore(store, found && ((answer) => found(answer, this.#replica)));
  }
}
