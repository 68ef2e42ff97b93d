import type { ConfigStamp } from '@tidemark/proto';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { BeginReason } from '../core/applier.ts';
import type { Group } from '../core/applier-groups.ts';

/** What the process is doing. `waiting`: for a document; `standby`: another member of the group applies. */
export const APPLIER_STATES = [
  'starting',
  'waiting',
  'standby',
  'applying',
  'redis-away',
  'stalled',
  'stopping',
] as const;
export type ApplierState = (typeof APPLIER_STATES)[number];

const CONFIG_RESULTS = ['applied', 'unchanged', 'refused', 'ignored'] as const;

const PREFIX = 'tidemark_applier_';
/** From a tenth of a millisecond to ten seconds. */
const LATENCY_BUCKETS_S = [0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];

/** What `apply` tells Prometheus. No label holds anything but words of this file and of the core. */
export class ApplyMetrics {
  readonly #registry = new Registry();
  readonly #records = this.#counter('records_total', 'Records applied to the fence logs');
  readonly #fences = this.#counter('fences_total', 'Fences raised, by kind; each name once a call', ['kind']);
  readonly #deleted = this.#counter('deleted_entries_total', 'Entries deleted from Redis because a fence forbids them');
  readonly #generations = this.#counter('generations_total', 'Fence logs begun anew, by reason', ['reason']);
  readonly #adoptions = this.#counter('adoptions_total', 'Times that a fence log took over another set of namespaces');
  readonly #holes = this.#counter('holes_total', 'Times that Redis had gone back in time and Kafka was read again');
  readonly #failures = this.#counter('redis_failures_total', 'Calls to Redis that failed and were tried again');
  readonly #resets = this.#counter('kafka_resets_total', 'Times that Kafka no longer had what was to be read next');
  readonly #seconds = new Histogram({
    name: `${PREFIX}apply_seconds`,
    help: 'From having read a group of records to the last answer of Redis, waits for an absent Redis included',
    buckets: LATENCY_BUCKETS_S,
    registers: [this.#registry],
  });
  readonly #lag = this.#gauge(
    'lag_ms',
    'Age of the newest applied record when it was applied, by the clocks of both ends',
  );
  readonly #state = this.#gauge('state', '1 for the state that the process is in', ['state']);

  readonly #configChanges = this.#counter('config_changes_total', 'Documents by what became of them', ['result']);
  readonly #configTerm = this.#gauge('config_term', 'Term of the document that is applied');
  readonly #configRevision = this.#gauge('config_revision', 'Its revision');

  constructor() {
    for (const result of CONFIG_RESULTS) this.#configChanges.inc({ result }, 0);
    collectDefaultMetrics({ register: this.#registry });
    this.setState('starting');
  }

  async render(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  setState(state: ApplierState): void {
    for (const each of APPLIER_STATES) this.#state.set({ state: each }, each === state ? 1 : 0);
  }

  /** What became of a document; `stamp` of one that was taken. */
  config(result: (typeof CONFIG_RESULTS)[number], stamp?: ConfigStamp): void {
    this.#configChanges.inc({ result });
    if (stamp === undefined) return;
    this.#configTerm.set(stamp.term);
    this.#configRevision.set(stamp.revision);
  }

  applied(
    group: Group,
    told: { readonly deleted: number; readonly ms: number; readonly lagMs: number | undefined },
  ): void {
    this.#records.inc(group.records);
    for (const [kind, count] of Object.entries(group.fences.counts())) this.#fences.inc({ kind }, count);
    this.#deleted.inc(told.deleted);
    this.#seconds.observe(told.ms / 1000);
    if (told.lagMs !== undefined) this.#lag.set(told.lagMs);
  }

  begun(reason: BeginReason): void {
    this.#generations.inc({ reason });
  }

  adopted(): void {
    this.#adoptions.inc();
  }

  hole(): void {
    this.#holes.inc();
  }

  redisFailed(): void {
    this.#failures.inc();
  }

  reset(): void {
    this.#resets.inc();
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name: `${PREFIX}${name}`, help, labelNames, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    return new Gauge({ name: `${PREFIX}${name}`, help, labelNames, registers: [this.#registry] });
  }
}
