import { encodeBatch, type Lsn } from '@tidemark/proto';
import type { Outbox } from '../core/outbox.ts';
import type { Clock } from '../core/ports.ts';
import { publishDelayMs } from '../core/schedule.ts';
import type { VisibilityWatch } from './visibility-watch.ts';
import { Bell } from './signal.ts';

/** The stream that records belong to. */
export interface StreamIdentity {
  readonly source: string;
  readonly epoch: number;
  readonly systemId: bigint;
  readonly timeline: number;
}

/** One record that Kafka has acknowledged; what metrics and tests want to know. */
export interface Published {
  readonly from: Lsn;
  readonly to: Lsn;
  readonly visible: Lsn;
  readonly bytes: number;
  readonly rows: number;
  readonly collapses: number;
  readonly commits: number;
  readonly heartbeat: boolean;
  /** From the beginning of the look at visibility to Kafka's acknowledgement. */
  readonly publishMs: number;
  /** From the newest commit in the record, by Postgres's clock, to Kafka's acknowledgement by ours; undefined without commits. */
  readonly commitToPublishMs: number | undefined;
}

export interface PublisherOptions {
  readonly identity: StreamIdentity;
  readonly outbox: Outbox;
  readonly watch: VisibilityWatch;
  /** Rejects unless the record is durable in Kafka. */
  readonly append: (record: Uint8Array) => Promise<void>;
  /** Rules hashes that a record which begins at `from` may claim, and the digests of their tables. */
  readonly claimsAt: (from: Lsn) => { readonly covers: readonly bigint[]; readonly catalog: readonly bigint[] };
  /** Everything up to here is durable in Kafka. */
  readonly onDurable: (position: Lsn) => void;
  /** There is room in the outbox. */
  readonly onRoom: () => void;
  readonly onPublished: (published: Published) => void;
  /** `visible` of the record before the first one. */
  readonly visible: Lsn;
  readonly clock: Clock;
}

/** Gathering under load, ms: at most 500 records a second, and a change waits 2 ms longer at the most. */
const PACE = { lingerMs: 2, moveMs: 50 };

/** Publishes the outbox, one record in flight, and confirms what Kafka has (SPEC I1, I2). */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #bell: Bell;
  #visible: Lsn;
  #begunAtMs = Number.NEGATIVE_INFINITY;
  #news = false;
  #stopping = false;
  #abandoned = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#bell = new Bell(options.clock);
    this.#visible = options.visible;
  }

  /** Something may be due. With `news` a record goes out even if it has no changes. */
  poke(news: boolean): void {
    if (news) this.#news = true;
    this.#bell.ring();
  }

  /** Publishes what waits, then lets {@link run} end. */
  stop(): void {
    this.#stopping = true;
    this.#bell.ring();
  }

  /** Publishes nothing more, not even what waits; {@link run} may still end with an error or not at all. */
  abandon(): void {
    this.#abandoned = true;
    this.#bell.ring();
  }

  /** Resolves after {@link stop}; rejects when a record cannot be published, after which this object is of no use. */
  async run(): Promise<void> {
    while (!this.#abandoned) {
      const { outbox, clock } = this.#options;
      const due = {
        dirty: outbox.dirty,
        news: this.#news,
        moved: outbox.reached > outbox.taken,
        idleMs: clock.monotonicMs() - this.#begunAtMs,
      };
      const delayMs = publishDelayMs(due, PACE);
      if (this.#stopping && !due.dirty) return;
      if (delayMs === 0 || this.#stopping) await this.#publish();
      else await this.#bell.wait(delayMs);
    }
  }

  async #publish(): Promise<void> {
    const { identity, outbox, watch, append, claimsAt, onDurable, onRoom, onPublished, clock } = this.#options;
    this.#news = false;
    this.#begunAtMs = clock.monotonicMs();
    const { rows, collapses, ...record } = outbox.take();
    onRoom();
    const visible = await watch.look(record.to);
    const heartbeat = record.commits.length === 0;
    const bytes = encodeBatch({
      ...identity,
      ...record,
      visible,
      publishedAtUs: clock.wallMs() * 1000,
      heartbeat,
      ...claimsAt(record.from),
    });
    await append(bytes);
    this.#visible = visible;
    onDurable(record.to);
    onPublished({
      from: record.from,
      to: record.to,
      visible,
      bytes: bytes.length,
      rows,
      collapses,
      commits: record.commits.length,
      heartbeat,
      publishMs: clock.monotonicMs() - this.#begunAtMs,
      commitToPublishMs: record.committedAtUs === 0 ? undefined : clock.wallMs() - record.committedAtUs / 1000,
    });
  }

  /** `visible` of the newest record. */
  get visible(): Lsn {
    return this.#visible;
  }
}
