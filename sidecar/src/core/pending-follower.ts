import type { Lsn } from '@tidemark/proto';
import type { FlushedAt, PendingWrites, WriteDelivery } from './pending-writes.ts';
import type { Clock } from './ports.ts';
import type { ReplicaView } from './replica.ts';

/** Knows how far writes were flushed (`GET /v1/flushed/{topic}` of the invalidator). */
export interface FlushedClient {
  /** Read after this was called, or why it cannot be told, in words. Bounded in time; never rejects. */
  flushed(topic: string): Promise<FlushedAt | { readonly failed: string }>;
}

/** Receives what the topic of writes brings. Every call is synchronous. */
export interface WriteListener {
  delivered(delivery: WriteDelivery): void;
  /** What was to be read next is not there. */
  reset(reason: string): void;
}

/** The topic of writes. */
export interface WriteFeed {
  /** Reads from an offset on; whatever was read before ends, and nobody is told of it any more. */
  readFrom(offset: number, listener: WriteListener): void;
  /** Until it is told again where to read from. Never rejects. */
  stop(): Promise<void>;
}

/** Told what a person should know; the same is told once. */
export interface PendingEvents {
  /** It cannot be found out which writes wait, and reads of their namespaces are not answered. */
  unknown(why: string): void;
  known(at: FlushedAt): void;
}

const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 5_000;

/** Keeps {@link PendingWrites} going: finds out where to begin, at first and whenever something may have been missed. */
export class PendingFollower implements WriteListener {
  /** How often it began anew. */
  restarts = 0;
  readonly #topic: string;
  readonly #writes: PendingWrites;
  readonly #client: FlushedClient | undefined;
  readonly #feed: WriteFeed;
  readonly #replica: Pick<ReplicaView, 'epoch' | 'applied' | 'visible'>;
  readonly #clock: Clock;
  readonly #events: PendingEvents;
  /** Counts beginnings, so that a late answer is known as such. */
  #turn = 0;
  /** W when nothing was known any more: marks behind it are heard. */
  #from: Lsn = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #cancel: () => void = () => undefined;
  #complaint = '';

  constructor(options: {
    topic: string;
    writes: PendingWrites;
    client: FlushedClient | undefined;
    feed: WriteFeed;
    replica: Pick<ReplicaView, 'epoch' | 'applied' | 'visible'>;
    clock: Clock;
    events: PendingEvents;
  }) {
    this.#topic = options.topic;
    this.#writes = options.writes;
    this.#client = options.client;
    this.#feed = options.feed;
    this.#replica = options.replica;
    this.#clock = options.clock;
    this.#events = options.events;
  }

  /** The stream of changes broke, other namespaces are served, or a record was lost: nothing is known any more. */
  restart(): void {
    this.#writes.restart();
    this.#turn += 1;
    this.#cancel();
    this.#from = this.#replica.applied;
    if (this.#writes.namespaces.size === 0) {
      void this.#feed.stop();
      return;
    }
    this.restarts += 1;
    this.#ask(this.#turn);
  }

  delivered(delivery: WriteDelivery): void {
    this.#writes.take(delivery);
    if (this.#writes.wantsRestart) this.restart();
  }

  reset(reason: string): void {
    this.#writes.restart();
    this.#turn += 1;
    this.#from = this.#replica.applied;
    this.#retry(`the writes that are not flushed yet are ${reason} in Kafka`, this.#turn);
  }

  async stop(): Promise<void> {
    this.#turn += 1;
    this.#cancel();
    await this.#feed.stop();
  }

  #ask(turn: number): void {
    if (this.#client === undefined) {
      this.#complain('without an invalidator (TIDEMARK_INVALIDATOR_URL) nobody says which writes were flushed');
      return;
    }
    // The flushes whose marks were not heard must be seen by who is asked.
    if (this.#replica.visible < this.#from) {
      this.#cancel = this.#clock.after(FIRST_PAUSE_MS, () => {
        if (turn === this.#turn) this.#ask(turn);
      });
      return;
    }
    void this.#client.flushed(this.#topic).then((answer) => {
      if (turn !== this.#turn) return;
      if ('failed' in answer) this.#retry(answer.failed, turn);
      else if (answer.epoch < this.#replica.epoch)
        this.#retry(`the invalidator answers for epoch ${answer.epoch}, and ${this.#replica.epoch} has begun`, turn);
      else {
        this.#pauseMs = FIRST_PAUSE_MS;
        if (this.#complaint !== '') this.#events.known(answer);
        this.#complaint = '';
        this.#writes.begin(answer);
        this.#feed.readFrom(answer.offset, this);
      }
    });
  }

  #retry(why: string, turn: number): void {
    this.#complain(why);
    this.#cancel();
    this.#cancel = this.#clock.after(this.#pauseMs, () => {
      if (turn === this.#turn) this.#ask(turn);
    });
    this.#pauseMs = Math.min(2 * this.#pauseMs, MAX_PAUSE_MS);
  }

  #complain(why: string): void {
    if (why !== this.#complaint) this.#events.unknown(why);
    this.#complaint = why;
  }
}
