import type { Coalescer } from './coalescer.ts';
import type { FlightLoader } from './flight-ports.ts';
import type { Fill, Filler } from './filler.ts';
import type { Flight, Passed } from './flights.ts';
import type { Lease } from './leases.ts';
import { LoadFailures } from './load-failures.ts';
import type { Namespace } from './namespace.ts';
import type { Clock, Loaded, LoadFailure } from './ports.ts';
import type { ReplicaView } from './replica.ts';

/** A value that is invalidated again and again while it is loaded is loaded so often for each who waits before he is told. */
const MAX_LOADS = 5;
/** Loads of a key at a time: one that a change has doomed, for those who asked before, and one for those who came since. */
const MAX_RUNNING = 2;

/** What a loader gives for a row that does not exist. */
const ABSENT = { body: new Uint8Array(), contentType: 'application/octet-stream', tags: [] } as const;

/**
 * Loads missing values where a namespace says how. The sidecar is then its own client: it takes the lease of the miss, loads, and fills
 * under that lease (SPEC I5), so a loaded value needs no rule of its own. When a load may begin is decided in clearance.ts.
 */
export class Loads implements FlightLoader {
  readonly #coalescer: Coalescer;
  readonly #filler: Filler;
  readonly #replica: ReplicaView;
  readonly #clock: Clock;
  readonly #etagOf: (contentType: string, body: Uint8Array) => string;
  readonly #failures = new WeakMap<Namespace, LoadFailures>();
  #underWay = 0;

  constructor(options: {
    coalescer: Coalescer;
    filler: Filler;
    replica: ReplicaView;
    clock: Clock;
    etagOf: (contentType: string, body: Uint8Array) => string;
  }) {
    this.#coalescer = options.coalescer;
    this.#filler = options.filler;
    this.#replica = options.replica;
    this.#clock = options.clock;
    this.#etagOf = options.etagOf;
    this.#coalescer.attach({ loads: this });
  }

  /** Loads that have begun and not ended. */
  get underWay(): number {
    return this.#underWay;
  }

  begin(namespace: Namespace, flight: Flight): void {
    // Where it changes more often than that, the next one begins when one of them ends.
    if (flight.running >= MAX_RUNNING) return;
    flight.loads += 1;
    void this.#run(namespace, flight, this.#coalescer.hold(namespace, flight));
  }

  failureOf(namespace: Namespace, key: string): LoadFailure | undefined {
    return this.#failures.get(namespace)?.of(key, this.#clock.monotonicMs());
  }

  /** Loads for callers whom the cache cannot answer now; nothing of it is stored. Never rejects. */
  async alone(namespace: Namespace, key: string): Promise<Passed> {
    const known = this.failureOf(namespace, key);
    if (known !== undefined) return { kind: 'failed', ...known };
    const beganMs = this.#clock.monotonicMs();
    const loaded = await this.#load(namespace, { key, isPassed: true });
    if (loaded.kind === 'failed') return loaded;
    if (loaded.sourceLsn !== undefined) {
      const detail = 'only a standby was read, and it is not known now what it lacks';
      return { kind: 'failed', why: 'unavailable', detail };
    }
    const fill = this.#fillOf(namespace, key, { loaded, lease: undefined, beganMs });
    const { maxItemBytes } = namespace.config;
    if (fill.body.length > maxItemBytes)
      return { kind: 'failed', why: 'too-large', detail: tooLarge(fill.body, maxItemBytes) };
    namespace.counters.passed += 1;
    return { kind: 'value', entry: this.#filler.entryOf(fill, { asOf: 0, epoch: this.#replica.epoch }) };
  }

  #fillOf(
    namespace: Namespace,
    key: string,
    of: { loaded: Exclude<Loaded, { kind: 'failed' }>; lease: Lease | undefined; beganMs: number },
  ): Fill & { loadMs: number } {
    const { loaded, lease, beganMs } = of;
    const { body, contentType, tags, ...said } = loaded.kind === 'absent' ? { ...ABSENT, ...loaded } : loaded;
    const loadMs = Math.round(this.#clock.monotonicMs() - beganMs);
    const absent = loaded.kind === 'absent';
    const etag = this.#etagOf(contentType, body);
    return { ...said, namespace, key, token: lease?.token, tags, absent, contentType, etag, body, loadMs };
  }

  async #run(namespace: Namespace, flight: Flight, lease: Lease | undefined): Promise<void> {
    const { key, loads: load } = flight;
    const beganMs = this.#clock.monotonicMs();
    // Then whatever was applied is in what is read from now on.
    const showsApplied = this.#replica.visible >= this.#replica.applied;
    this.#underWay += 1;
    flight.running += 1;
    const loaded = await this.#load(namespace, { key, isPassed: false });
    this.#underWay -= 1;
    flight.running -= 1;
    if (loaded.kind === 'failed') {
      this.#fail(namespace, flight, { lease, load, failure: loaded });
      return;
    }
    const fill = { ...this.#fillOf(namespace, key, { loaded, lease, beganMs }), by: { flight, load } };
    const { body, sourceLsn } = fill;
    const { maxItemBytes } = namespace.config;
    if (body.length > maxItemBytes) {
      const detail = tooLarge(body, maxItemBytes);
      this.#fail(namespace, flight, { lease, load, failure: { why: 'too-large', detail } });
      return;
    }
    this.#failures.get(namespace)?.succeeded(key);
    const outcome = this.#filler.offer(fill);
    if (outcome.kind !== 'refused') return;
    // What a standby shows may be older than the question.
    if (sourceLsn === undefined && showsApplied && lease?.epoch === this.#replica.epoch)
      this.#coalescer.passed(namespace, flight, { entry: this.#filler.entryOf(fill, lease), load });
    this.#wasInVain(namespace, flight, load);
  }

  /** For whoever still waits, and had asked before it began. */
  #wasInVain(namespace: Namespace, flight: Flight, load: number): void {
    for (const waiter of flight.waiters) if (waiter.afterLoads < load) waiter.inVain += 1;
    const detail = `the value was invalidated during each of ${MAX_LOADS} loads`;
    const lasting = [...flight.waiters].filter(({ inVain }) => inVain >= MAX_LOADS);
    this.#coalescer.gaveUp(namespace, lasting, { why: 'changing', detail });
    const isNext = isCurrent(namespace, flight, load) || isOwed(namespace, flight);
    if (isNext) this.#coalescer.handOver(namespace, flight);
  }

  async #load(namespace: Namespace, { key, isPassed }: { key: string; isPassed: boolean }): Promise<Loaded> {
    const { loader, variants, rules } = namespace;
    const subject = variants === undefined ? { key, headers: {} } : variants.subjectOf(key);
    if (loader === undefined || subject === undefined)
      return { kind: 'failed', why: 'unavailable', detail: 'nobody has asked for this value lately' };
    const atLeast = rules && this.#replica.newestFence(rules, key, namespace.tagsOf(key, []));
    return loader.load({ ...subject, address: key, atLeast, isPassed });
  }

  #fail(
    namespace: Namespace,
    flight: Flight,
    { lease, load, failure }: { lease: Lease | undefined; load: number; failure: LoadFailure },
  ): void {
    if (lease !== undefined) this.#filler.forget(lease);
    const failures = this.#failures.get(namespace) ?? new LoadFailures();
    this.#failures.set(namespace, failures);
    const { why, detail } = failure;
    failures.failed(flight.key, { why, detail }, this.#clock.monotonicMs());
    // Another load of the same key may be under way, because this one was doomed.
    if (isCurrent(namespace, flight, load)) this.#coalescer.failed(namespace, flight, failure);
  }
}

function tooLarge({ length }: Uint8Array, most: number): string {
  return `found ${length} bytes, expected at most ${most} (maxItemBytes)`;
}

/** Whether there was no room for a load of it. */
function isOwed({ flights }: Namespace, flight: Flight): boolean {
  return flights.get(flight.key) === flight && flight.lease === undefined && !flight.seeking;
}

function isCurrent({ flights }: Namespace, flight: Flight, load: number): boolean {
  return flights.get(flight.key) === flight && flight.loads === load && !flight.seeking;
}
