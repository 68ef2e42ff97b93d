import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/** What the process is doing. `standby`: another one flushes; `postgres-away`: it is tried again; `lost`: a person has to look. */
export const FLUSHER_STATES = [
  'starting',
  'waiting',
  'standby',
  'flushing',
  'postgres-away',
  'lost',
  'stopping',
] as const;
export type FlusherState = (typeof FLUSHER_STATES)[number];

const PREFIX = 'tidemark_flusher_';
const SECONDS_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];

/** What `flush` tells Prometheus. No label holds anything but words of this file. */
export class FlushMetrics {
  readonly #registry = new Registry();
  readonly #depth = this.#gauge('depth', 'Writes in Kafka that are not in Postgres yet, as of a few seconds ago');
  readonly #age = this.#gauge('oldest_seconds', 'Age of the oldest of them, by the clock of Kafka and this machine');
  readonly #batches = this.#counter('batches_total', 'Transactions that were committed');
  readonly #writes = this.#counter('writes_total', 'Writes that came into Postgres, parked ones included');
  readonly #statements = this.#counter('statements_total', 'Statements that were run for them');
  readonly #coalesced = this.#counter(
    'coalesced_total',
    'Writes whose statement need not run: a later write had the same key',
  );
  readonly #retries = this.#counter('retries_total', 'Transactions that failed and were tried again');
  readonly #isolated = this.#counter(
    'isolated_total',
    'Batches that were run write by write, because one of them failed',
  );
  readonly #parked = this.#counter('parked_total', 'Writes that were parked, see table tidemark.parked_writes');
  readonly #forgotten = this.#gauge('forgotten_offset', 'Kafka may forget the writes below this offset');
  readonly #lost = this.#gauge('writes_lost', '1 while Kafka does not hold what Postgres expects next');
  readonly #state = this.#gauge('state', '1 for the state that the process is in', ['state']);
  readonly #seconds = new Histogram({
    name: `${PREFIX}flush_seconds`,
    help: 'From having read a batch to its commit, retries included',
    buckets: SECONDS_BUCKETS,
    registers: [this.#registry],
  });
  #oldestAtMs: number | undefined;

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
    this.setState('starting');
  }

  async render(): Promise<{ contentType: string; body: string }> {
    this.#age.set(this.#oldestAtMs === undefined ? 0 : Math.max(0, Date.now() - this.#oldestAtMs) / 1000);
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  setState(state: FlusherState): void {
    for (const each of FLUSHER_STATES) this.#state.set({ state: each }, each === state ? 1 : 0);
    this.#lost.set(state === 'lost' ? 1 : 0);
  }

  /** @param oldestAtMs when the oldest waiting write was written; undefined where none waits. */
  waiting(depth: number, oldestAtMs: number | undefined): void {
    this.#depth.set(depth);
    this.#oldestAtMs = oldestAtMs;
  }

  flushed(batch: { writes: number; statements: number; coalesced: number; parked: number; ms: number }): void {
    this.#batches.inc();
    this.#writes.inc(batch.writes);
    this.#statements.inc(batch.statements);
    this.#coalesced.inc(batch.coalesced);
    this.#parked.inc(batch.parked);
    this.#seconds.observe(batch.ms / 1000);
  }

  retried(): void {
    this.#retries.inc();
  }

  isolated(): void {
    this.#isolated.inc();
  }

  forgotten(offset: number): void {
    this.#forgotten.set(offset);
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name: `${PREFIX}${name}`, help, registers: [this.#registry] });
  }

  #gauge<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> {
    return new Gauge({ name: `${PREFIX}${name}`, help, labelNames, registers: [this.#registry] });
  }
}
