import { type Batch, encodeBatch, Op, type Purge, TableChangesBuilder } from '@tidemark/proto';
import { Kafka, logLevel, type Producer } from 'kafkajs';

/** A record that is given up would be a gap: each is tried for about a minute. */
const RETRY = { retries: 60, maxRetryTime: 1_000 };

/** What one record says, as far as a test cares. */
export interface Said {
  /** Rows of `public.users` that changed, by their id. */
  readonly users?: readonly string[];
  readonly purges?: readonly Omit<Purge, 'commit'>[];
  /** How far readers see; default: everything. */
  readonly visible?: number;
  /** Leaves out a record before this one. */
  readonly gap?: boolean;
  /** Begins a generation of the stream. */
  readonly newEpoch?: boolean;
  readonly covers?: readonly bigint[];
}

/** Writes a source's stream as the invalidator would, so that a test decides what the sidecars hear and when. */
export class Stream {
  readonly #producer: Producer;
  readonly #topic: string;
  #covers: readonly bigint[];
  #epoch = 1;
  #to = 1000;
  #heart: NodeJS.Timeout | undefined;
  #sent: Promise<unknown> = Promise.resolve();

  constructor(options: { brokers: readonly string[]; topic: string; covers: readonly bigint[] }) {
    this.#producer = new Kafka({ brokers: [...options.brokers], logLevel: logLevel.NOTHING, retry: RETRY }).producer();
    this.#topic = options.topic;
    this.#covers = options.covers;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Position of the newest record. */
  get to(): number {
    return this.#to;
  }

  async start(): Promise<void> {
    await this.#producer.connect();
    await this.say({});
  }

  /** A record now and then, as the real publisher sends. */
  beat(everyMs = 250): void {
    this.#heart = setInterval(() => void this.say({}).catch(() => undefined), everyMs);
  }

  hush(): void {
    clearInterval(this.#heart);
  }

  /** Appends one record; resolves with the batch once Kafka has it. */
  say(said: Said): Promise<Batch> {
    const batch = this.#batch(said);
    const send = this.#sent.then(() => this.sendBytes(encodeBatch(batch)));
    this.#sent = send.catch(() => undefined);
    return send.then(() => batch);
  }

  async sendBytes(bytes: Uint8Array): Promise<void> {
    await this.#producer.send({ topic: this.#topic, acks: -1, messages: [{ value: Buffer.from(bytes) }] });
  }

  async stop(): Promise<void> {
    this.hush();
    await this.#sent;
    await this.#producer.disconnect();
  }

  #batch(said: Said): Batch {
    if (said.newEpoch === true) this.#epoch += 1;
    if (said.gap === true) this.#to += 10;
    if (said.covers !== undefined) this.#covers = said.covers;
    const from = this.#to;
    const commit = from + 5;
    this.#to = from + 10;
    const rows = new TableChangesBuilder(['id']);
    for (const id of said.users ?? []) rows.add({ op: Op.update, commit: 0, before: [id], after: [id] });
    const changed = (said.users?.length ?? 0) + (said.purges?.length ?? 0) > 0;
    return {
      source: 'main',
      epoch: this.#epoch,
      from,
      to: this.#to,
      visible: said.visible ?? this.#to,
      committedAtUs: changed ? Date.now() * 1000 : 0,
      publishedAtUs: Date.now() * 1000,
      systemId: 1n,
      timeline: 1,
      heartbeat: !changed,
      covers: this.#covers,
      commits: changed ? [commit] : [],
      tables: rows.count === 0 ? [] : [{ schema: 'public', table: 'users', changes: rows.encode() }],
      purges: (said.purges ?? []).map((purge) => ({ ...purge, commit: 0 })),
    };
  }
}
