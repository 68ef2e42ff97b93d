import type { ConfigIntake } from '@tidemark/proto';
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import type { MemcachedStore } from './adapters/memcached/store.ts';
import type { RedisStore } from './adapters/redis/store.ts';
import type { Budget } from './adapters/l1/budget.ts';
import type { KafkaFeed } from './adapters/kafka-feed.ts';
import type { BatchReader } from './core/batch-reader.ts';
import type { Clearance } from './core/clearance.ts';
import type { Coalescer } from './core/coalescer.ts';
import type { Taken } from './core/configuration.ts';
import type { Follower } from './core/follower.ts';
import type { Leases } from './core/leases.ts';
import type { Namespace } from './core/namespace.ts';
import type { Positions } from './core/positions.ts';
import type { Promoter } from './core/promoter.ts';
import type { Reader } from './core/reader.ts';
import type { RefreshAhead } from './core/refresh-ahead.ts';
import type { Restamper } from './core/restamper.ts';
import type { ReplicaState, SourceReplica } from './core/replica.ts';
import type { Sessions } from './core/sessions.ts';
import { watchL1 } from './metrics/l1.ts';
import { watchL2Values } from './metrics/l2-values.ts';
import { observeTimes, type Observe } from './metrics/timing.ts';
import { watchNamespaces } from './metrics/namespaces.ts';
import { watchStampedes } from './metrics/stampedes.ts';
import { readCounter, readGauge, type Give } from './metrics/reading.ts';

export interface Observed {
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly budget: Budget;
  readonly replica: SourceReplica;
  readonly state: () => ReplicaState;
  readonly follower: Follower;
  readonly feed: KafkaFeed;
  readonly coalescer: Coalescer;
  readonly clearance: Clearance;
  readonly ahead: RefreshAhead;
  readonly leases: Leases;
  readonly reader: Reader;
  readonly sessions: Sessions;
  readonly positions: Positions;
  readonly batches: BatchReader;
  readonly l2: RedisStore | MemcachedStore | undefined;
  readonly promoter?: Promoter | undefined;
  readonly restamper?: Restamper | undefined;
}

const STATES: readonly ReplicaState[] = ['starting', 'live', 'stalled'];
const IRREGULAR = [
  'started',
  'gap',
  'new-epoch',
  'stale-epoch',
  'duplicate',
  'too-new',
  'unreadable',
  'reset',
] as const;

/**
 * Everything under `tidemark_`. What happens often is counted elsewhere in plain integers and only read here when
 * somebody asks. No label has values that callers choose: namespaces come from the configuration.
 */
export class Metrics {
  readonly registry = new Registry();
  readonly #l2Latency: Histogram;
  readonly #evictLag: Histogram;
  /** How long a load of a namespace took. */
  readonly observeLoad: Observe;
  readonly observeWrite: Observe;
  #served: ReadonlyMap<string, Namespace> | undefined;

  constructor() {
    const registers = [this.registry];
    this.#l2Latency = new Histogram({
      name: 'tidemark_l2_command_seconds',
      help: 'Time until L2 answered a command.',
      buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1],
      registers,
    });
    this.#evictLag = new Histogram({
      name: 'tidemark_commit_to_evict_seconds',
      help: 'From the newest commit of a record to its application, by the clocks of Postgres and of this machine.',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
      registers,
    });
    const isServed = (namespace: string): boolean => this.#served?.has(namespace) ?? true;
    this.observeLoad = observeTimes(this.registry, {
      name: 'tidemark_load_seconds',
      help: 'Time of a load, waiting for a connection included.',
      isServed,
    });
    this.observeWrite = observeTimes(this.registry, {
      name: 'tidemark_write_seconds',
      help: 'Time of a write through the sidecar, waiting for a connection included.',
      isServed,
    });
  }

  observeL2Latency(ms: number): void {
    this.#l2Latency.observe(ms / 1000);
  }

  observeEvictLag(ms: number): void {
    this.#evictLag.observe(ms / 1000);
  }

  async text(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() };
  }

  /** Registers what is known from the start. Once. `ignored` counts records that were older or that nobody understood. */
  watchConfig(intake: ConfigIntake<Taken>, ignored: () => number): void {
    // Among them the lag of the event loop: tidemark_nodejs_eventloop_lag_p99_seconds.
    collectDefaultMetrics({ register: this.registry, prefix: 'tidemark_' });
    this.#gauge('tidemark_config_taken', '1 once there is a document to serve.', (set) =>
      set({}, intake.stamp === undefined ? 0 : 1),
    );
    this.#gauge('tidemark_config_term', 'Term of the document that is served.', (set) =>
      set({}, intake.stamp?.term ?? 0),
    );
    this.#gauge('tidemark_config_revision', 'Its revision.', (set) => set({}, intake.stamp?.revision ?? 0));
    this.#counter('tidemark_config_changes_total', 'Documents by what became of them.', ['result'], (set) => {
      for (const [result, count] of Object.entries(intake.counters)) set({ result }, count);
      set({ result: 'ignored' }, ignored());
    });
  }

  /** Registers what is read from the parts when somebody asks. Once. */
  watch(parts: Observed): void {
    this.#served = parts.namespaces;
    watchNamespaces(this.registry, parts.namespaces);
    watchL1(this.registry, parts);
    watchStampedes(this.registry, parts);
    this.#watchFeed(parts);
    this.#watchL2(parts);
    this.#watchPositions(parts);
    this.#watchBatches(parts);
    this.#gauge('tidemark_leases', 'Leases that are out.', (set) => set({}, parts.leases.size));
    this.#gauge('tidemark_waiters', "Callers that wait for another caller's fill or for L2.", (set) =>
      set({}, parts.coalescer.waiting),
    );
  }

  #watchFeed({ replica, state, follower, feed }: Observed): void {
    this.#counter('tidemark_records_total', 'Records of the stream by what they were.', ['kind'], (set) => {
      for (const kind of ['next', ...IRREGULAR] as const) set({ kind }, follower.observed.get(kind) ?? 0);
    });
    this.#counter(
      'tidemark_unreadable_blocks_total',
      'Blocks of row changes that could not be read and flushed instead.',
      [],
      (set) => set({}, replica.unreadableBlocks),
    );
    this.#counter('tidemark_feed_restarts_total', 'How often the watchdog replaced a silent reader.', [], (set) =>
      set({}, feed.restarts),
    );
    this.#gauge(
      'tidemark_feed_state',
      '1 for the state that the feed is in.',
      (set) => STATES.forEach((each) => set({ state: each }, each === state() ? 1 : 0)),
      ['state'],
    );
    this.#gauge('tidemark_feed_connected', '1 while Kafka answers.', (set) => set({}, feed.isConnected ? 1 : 0));
    this.#gauge('tidemark_epoch', 'Generation of the stream.', (set) => set({}, replica.epoch));
    this.#gauge('tidemark_applied_lsn', 'Everything up to this position was applied.', (set) =>
      set({}, replica.applied),
    );
    this.#gauge(
      'tidemark_visible_lsn',
      'Everything up to this position is visible to readers of the database.',
      (set) => set({}, replica.visible),
    );
    this.#gauge('tidemark_lag_seconds', 'From commit to application, of the newest record.', (set) =>
      set({}, follower.lagMs / 1000),
    );
  }

  #watchBatches({ batches: { counters } }: Observed): void {
    this.#counter('tidemark_batches_total', 'Batches that were read.', [], (set) => set({}, counters.batches));
    this.#counter('tidemark_snapshots_total', 'Snapshots by how they ended.', ['result'], (set) => {
      set({ result: 'taken' }, counters.snapshots);
      for (const result of ['missing', 'changing', 'behind', 'no-position'] as const) set({ result }, counters[result]);
    });
    this.#counter('tidemark_snapshot_rounds_total', 'How often keys of snapshots were read.', [], (set) =>
      set({}, counters.rounds),
    );
  }

  #watchPositions({ sessions, positions }: Observed): void {
    const { counters } = sessions;
    this.#counter('tidemark_session_requests_total', 'Requests with a session or a least position.', [], (set) =>
      set({}, counters.visits),
    );
    this.#counter('tidemark_session_waits_total', 'Those that had to wait until a position was applied.', [], (set) =>
      set({}, counters.waits),
    );
    this.#counter('tidemark_session_unmet_total', 'Those that were not answered from the cache.', ['reason'], (set) => {
      for (const reason of ['behind', 'no-position', 'crowded'] as const) set({ reason }, counters[reason]);
    });
    this.#counter('tidemark_positions_asked_total', 'Questions where the database stands.', ['result'], (set) => {
      set({ result: 'answered' }, positions.asked - positions.failed);
      set({ result: 'failed' }, positions.failed);
    });
  }

  #watchL2({ l2, reader, promoter, restamper }: Observed): void {
    if (l2 === undefined) return;
    const { counters } = l2;
    watchL2Values(this.registry, l2);
    this.#counter('tidemark_l2_commands_total', 'Commands sent to L2.', ['command'], (set) => {
      for (const [command, count] of Object.entries(counters.commands)) set({ command }, count);
    });
    this.#counter('tidemark_l2_failures_total', 'Commands that brought nothing usable.', ['reason'], (set) => {
      for (const [reason, count] of Object.entries(counters.failures)) set({ reason }, count);
    });
    this.#counter('tidemark_l2_fills_total', 'Fills of L2 by what became of them.', ['result'], (set) => {
      for (const [result, count] of counters.fills) set({ result }, count);
    });
    this.#counter(
      'tidemark_l2_promotions_total',
      'Entries kept in reach of sidecars to come, after a read from L2 or while held in L1, by what came of it.',
      ['after', 'result'],
      (set) => {
        for (const [key, count] of promoter?.results ?? []) {
          const [after = '', result = ''] = key.split(':');
          set({ after, result }, count);
        }
        for (const [result, count] of restamper?.results ?? []) set({ after: 'held', result }, count);
      },
    );
    this.#counter('tidemark_l2_misses_total', 'Reads that L2 could not serve, by why.', ['reason'], (set) => {
      for (const [reason, count] of reader.l2Misses) set({ reason }, count);
    });
    this.#gauge('tidemark_l2_up', '1 while L2 is asked; 0 while the breaker is open.', (set) =>
      set({}, l2.available ? 1 : 0),
    );
  }

  /** A counter whose value lives elsewhere. */
  #counter(name: string, help: string, labels: readonly string[], read: (give: Give) => void): void {
    readCounter(this.registry, { name, help, labels, read });
  }

  #gauge(name: string, help: string, read: (give: Give) => void, labels: readonly string[] = []): void {
    readGauge(this.registry, { name, help, labels, read });
  }
}
