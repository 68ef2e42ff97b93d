import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { Attempt } from '../core/election.ts';
import { WAL_STATUSES, type SlotHealth, type SlotLoss } from '../core/slot-health.ts';
import type { EpochReason } from '../core/start.ts';
import { ConfigMetrics } from './config-metrics.ts';
import type { Published } from './publisher.ts';
import { STATES, type State } from './state.ts';

const PREFIX = 'tidemark_invalidator_';
/** From a tenth of a millisecond to ten seconds. */
const LATENCY_BUCKETS_S = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];

/** What `run` tells Prometheus. No label holds anything but words of this file and of the core. */
export class RunMetrics {
  readonly #registry = new Registry();
  /** What is told about the configuration. */
  readonly config = new ConfigMetrics(this.#registry, PREFIX);
  readonly #records = this.#counter('records_total', 'Records written to Kafka, by kind', ['kind']);
  readonly #changes = this.#counter(
    'changes_total',
    'Row changes of rule tables that were published, those in collapsed tables included',
  );
  readonly #bytes = this.#counter('record_bytes_total', 'Bytes of records before compression');
  readonly #collapses = this.#counter('collapsed_total', 'Times that a bound turned single changes into a coarser one');
  readonly #unreadable = this.#counter(
    'unreadable_purges_total',
    'Purge messages that could not be understood and purged everything',
  );
  readonly #epochs = this.#counter('epochs_total', 'New epochs, by reason', ['reason']);
  readonly #continuations = this.#counter('continuations_total', 'Starts that went on in their epoch');
  readonly #slotsLost = this.#counter('slots_lost_total', 'Slots that could not deliver any more and were made anew', [
    'reason',
  ]);
  readonly #restarts = this.#counter('restarts_total', 'Restarts of the stream, by cause', ['cause']);
  readonly #ddl = this.#counter('ddl_purges_total', 'Namespaces purged because DDL changed a table of theirs');
  readonly #purges = this.#counter('purge_requests_total', 'Answers to POST /v1/purge, by status', ['status']);
  readonly #publish = this.#histogram('publish_seconds', 'From taking a record to its acknowledgement by Kafka');
  readonly #latency = this.#histogram(
    'commit_to_publish_seconds',
    'From the newest commit of a record (clock of Postgres) to its acknowledgement by Kafka',
  );
  readonly #slotLag = this.#gauge(
    'slot_lag_bytes',
    'WAL that the slot has not confirmed: insert position minus confirmed position',
  );
  readonly #slotRetained = this.#gauge('slot_retained_bytes', 'WAL that Postgres keeps for the slot');
  readonly #slotSafe = this.#gauge(
    'slot_safe_wal_bytes',
    'WAL that may still be written before the slot can be lost; +Inf without max_slot_wal_keep_size',
  );
  readonly #slotStatus = this.#gauge('slot_wal_status', '1 for the wal_status that the slot has', ['status']);
  readonly #slotFailover = this.#gauge('slot_failover', '1 if standbys may take the slot over (Postgres 17 and later)');
  readonly #heldBack = this.#gauge(
    'stream_held_back',
    '1 while Postgres waits for the standbys of synchronized_standby_slots before it sends changes',
  );
  readonly #visibleLag = this.#gauge('visible_lag_bytes', 'Newest published position minus the visible one');
  readonly #invisible = this.#gauge('invisible_commits', 'Published transactions that new snapshots do not see yet');
  readonly #uncovered = this.#gauge('uncovered_namespaces', 'Namespaces with rules that are not served');
  readonly #leader = this.#gauge('leader', '1 while this process has the Lease, or needs none');
  readonly #term = this.#gauge('leader_term', 'Transitions of the Lease when this process last had it');
  readonly #sure = this.#gauge(
    'leader_sure',
    '1 while a leader is sure of its Lease; 0 for a leader that the API server has not answered for the renew deadline',
  );
  readonly #lease = this.#counter('lease_attempts_total', 'Attempts to take or renew the Lease, by outcome', [
    'outcome',
  ]);
  readonly #evictions = this.#counter(
    'evictions_total',
    'Connections of former leaders to Postgres that were ended to take over',
  );
  readonly #state = this.#gauge('state', '1 for the state that the process is in', ['state']);

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
    this.setState('starting');
  }

  render(): Promise<{ contentType: string; body: string }> {
    return this.#registry.metrics().then((body) => ({ contentType: this.#registry.contentType, body }));
  }

  published(published: Published): void {
    this.#records.inc({ kind: published.heartbeat ? 'heartbeat' : 'changes' });
    this.#bytes.inc(published.bytes);
    this.#changes.inc(published.rows);
    this.#collapses.inc(published.collapses);
    this.#publish.observe(published.publishMs / 1000);
    if (published.commitToPublishMs !== undefined)
      this.#latency.observe(Math.max(0, published.commitToPublishMs) / 1000);
    this.#visibleLag.set(published.to - published.visible);
  }

  /** @param term undefined: somebody else leads */
  leading(term: number | undefined): void {
    this.#leader.set(term === undefined ? 0 : 1);
    this.#sure.set(term === undefined ? 0 : 1);
    if (term !== undefined) this.#term.set(term);
  }

  leaderSure(isSure: boolean): void {
    this.#sure.set(isSure ? 1 : 0);
  }

  leaseAttempt(outcome: Attempt | 'failed'): void {
    this.#lease.inc({ outcome });
  }

  evicted(): void {
    this.#evictions.inc();
  }

  setState(state: State): void {
    for (const each of STATES) this.#state.set({ state: each }, each === state ? 1 : 0);
  }

  /** `promoted`: the slot came over from the primary before. */
  epoch(reason: EpochReason | 'promoted'): void {
    this.#epochs.inc({ reason });
  }

  continued(): void {
    this.#continuations.inc();
  }

  slotLost(reason: SlotLoss): void {
    this.#slotsLost.inc({ reason });
  }

  slot(health: SlotHealth): void {
    this.#slotLag.set(health.lagBytes);
    this.#slotRetained.set(health.retainedBytes);
    this.#slotSafe.set(health.safeWalBytes ?? Number.POSITIVE_INFINITY);
    for (const status of WAL_STATUSES) this.#slotStatus.set({ status }, status === health.walStatus ? 1 : 0);
    this.#slotFailover.set(health.failover === true ? 1 : 0);
    this.#heldBack.set(health.heldBack ? 1 : 0);
  }

  restart(cause: string): void {
    this.#restarts.inc({ cause });
  }

  unreadablePurge(): void {
    this.#unreadable.inc();
  }

  ddlPurge(namespaces: number): void {
    this.#ddl.inc(namespaces);
  }

  purgeRequest(status: number): void {
    this.#purges.inc({ status: String(status) });
  }

  measure(gauges: { invisible: number; uncovered: number }): void {
    this.#invisible.set(gauges.invisible);
    this.#uncovered.set(gauges.uncovered);
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name: `${PREFIX}${name}`, help, labelNames, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    return new Gauge({ name: `${PREFIX}${name}`, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string): Histogram {
    return new Histogram({ name: `${PREFIX}${name}`, help, buckets: LATENCY_BUCKETS_S, registers: [this.#registry] });
  }
}
