import {
  PendingFollower,
  type FlushedClient,
  type WriteFeed,
  type WriteListener,
} from '../../../sidecar/src/core/pending-follower.ts';
import type { PendingNamespace } from '../../../sidecar/src/core/pending-namespace.ts';
import { PendingWrites, type FlushedAt } from '../../../sidecar/src/core/pending-writes.ts';
import type { Dice } from '../../../sidecar/src/testing/random.ts';
import { NAMESPACE, TOPIC, type World } from './world.ts';

/** Guards that are left out. */
export interface Mutant {
  /** What was flushed goes with W, before every reader of the database sees it. */
  readonly goesWithApplied?: boolean;
  /** It is asked how far was flushed before that can be seen. */
  readonly asksTooEarly?: boolean;
  /** Marks that come before the place to begin is known are not kept. */
  readonly forgetsEarlyMarks?: boolean;
  /** A break of the stream is passed over. */
  readonly ignoresBreaks?: boolean;
  /** Reads are answered before the topic was read to its end. */
  readonly servesEarly?: boolean;
  /** Reads are answered before W has reached the position that came with the progress. */
  readonly ignoresPosition?: boolean;
  /** The position is asked for before the progress is read. */
  readonly asksInReverse?: boolean;
  /** It begins at the end of the topic. */
  readonly beginsAtEnd?: boolean;
  /** What was written is acknowledged before the reader has passed it. */
  readonly acknowledgesEarly?: boolean;
  /** What does not fit is dropped, and nothing else is said of it. */
  readonly dropsSilently?: boolean;
  /** A reader that found nothing where it was to go on goes on with what is there. */
  readonly skipsLost?: boolean;
}

const MAX_BYTES = 64 * 1024;
const SMALL_BYTES = 1_500;

/** One sidecar: the real overlay and follower, over a replica and a reader that a history drives. */
export class PendingSidecar {
  readonly replica = { epoch: 0, applied: 0, visible: 0 };
  readonly writes: PendingWrites;
  readonly namespace: PendingNamespace;
  readonly follower: PendingFollower;
  /** Next record of the stream. */
  #at: number;
  /** Writes below this offset were in the topic when the last look at it was taken. */
  seenEnd = 0;
  readonly #world: World;
  readonly #dice: Dice;
  readonly #mutant: Mutant;
  #reading: { next: number; listener: WriteListener } | undefined;
  #questions: (() => void)[] = [];
  #timers: (() => void)[] = [];
  #hasBegun = false;

  constructor(world: World, dice: Dice, mutant: Mutant) {
    this.#world = world;
    this.#dice = dice;
    this.#mutant = mutant;
    this.#at = world.stream.length - 1;
    const replica = this.replica;
    const view = mutant.goesWithApplied
      ? {
          get epoch() {
            return replica.epoch;
          },
          get applied() {
            return replica.applied;
          },
          get visible() {
            return replica.applied;
          },
        }
      : replica;
    this.writes = new PendingWrites({ topic: TOPIC, replica: view, maxStalenessMs: 1e9, etagOf: () => '' });
    this.namespace = this.writes.serve(NAMESPACE, dice.chance(0.3) ? SMALL_BYTES : MAX_BYTES);
    const client: FlushedClient = { flushed: () => this.#ask() };
    const feed: WriteFeed = {
      readFrom: (next, listener) => {
        this.#hasBegun = true;
        this.#reading = { next: mutant.beginsAtEnd ? world.end : next, listener };
      },
      stop: async () => void (this.#reading = undefined),
    };
    this.follower = new PendingFollower({
      topic: TOPIC,
      writes: this.writes,
      client,
      feed,
      replica: mutant.asksTooEarly
        ? {
            get epoch() {
              return replica.epoch;
            },
            applied: 0,
            visible: 0,
          }
        : replica,
      clock: { monotonicMs: () => 0, wallMs: () => 0, after: (_delayMs, run) => this.#after(run) },
      events: { unknown: () => undefined, known: () => undefined },
    });
  }

  /** Whether reads are answered now. */
  get serves(): boolean {
    const { servesEarly, ignoresPosition, dropsSilently } = this.#mutant;
    const why = this.namespace.bypass(0);
    if (why === undefined) return true;
    if (why === 'overflow') return dropsSilently === true;
    return (servesEarly === true || ignoresPosition === true) && this.#hasBegun && this.replica.epoch > 0;
  }

  /** The stream goes on by a record, or jumps over some. */
  hear(): void {
    const { stream } = this.#world;
    if (this.#at >= stream.length) return;
    const skips = this.replica.epoch > 0 && this.#dice.chance(0.05);
    if (skips) this.#at = Math.min(stream.length - 1, this.#at + 1 + this.#dice.below(3));
    const record = stream[this.#at];
    if (record === undefined) return;
    this.#at += 1;
    const { replica } = this;
    if (record.epoch === replica.epoch && record.from <= replica.applied) {
      if (record.to < replica.applied) return;
      for (const { rest, lsn } of record.marks) this.#mark(rest, lsn);
      replica.applied = Math.max(replica.applied, record.to);
      replica.visible = Math.max(replica.visible, Math.min(record.visible, record.to));
      return;
    }
    Object.assign(replica, { epoch: record.epoch, applied: record.to, visible: Math.min(record.visible, record.to) });
    if (this.#mutant.ignoresBreaks !== true || !this.#hasBegun) this.follower.restart();
  }

  /** A fetch is answered with some of what there is. */
  read(): void {
    const { writes, end, earliest } = this.#world;
    const reading = this.#reading;
    if (reading === undefined) return;
    if (reading.next < earliest) {
      if (this.#mutant.skipsLost) reading.next = earliest;
      else {
        this.#reading = undefined;
        reading.listener.reset('lost');
        return;
      }
    }
    const next = Math.min(end, reading.next + this.#dice.below(4));
    const records = writes.slice(reading.next, next).map(({ value }, i) => ({ offset: reading.next + i, value }));
    reading.next = next;
    const caughtUp = next === end;
    if (caughtUp) this.seenEnd = end;
    reading.listener.delivered({ records, nextOffset: next, caughtUp, requestedAtMs: 0 });
  }

  /** A question is answered, or a timer has come. */
  async answer(): Promise<void> {
    this.#dice.draw(this.#questions)?.();
    if (this.#dice.chance(0.5)) this.#dice.draw(this.#timers)?.();
    await Promise.resolve();
    await Promise.resolve();
  }

  /** Calls back when a write that was taken here is acknowledged. */
  acknowledge(offset: number, settle: () => void): void {
    if (this.#mutant.acknowledgesEarly) settle();
    else this.writes.whenPassed(offset, settle);
  }

  /** The body's number of what is answered for the key. */
  get(key: string) {
    return this.namespace.get(key);
  }

  #mark(rest: string, lsn: number): void {
    if (this.#mutant.forgetsEarlyMarks && !this.#hasBegun) return;
    this.writes.mark(rest, lsn);
  }

  #ask(): Promise<FlushedAt> {
    this.#hasBegun = this.#mutant.servesEarly === true && this.#hasBegun;
    const asked = this.#world.answer();
    return new Promise((resolve) => {
      this.#questions.push(() => {
        const now = this.#world.answer();
        const answer = this.#dice.chance(0.5) ? asked : now;
        if (this.#mutant.asksInReverse) resolve({ ...now, lsn: asked.lsn });
        else resolve(this.#mutant.ignoresPosition ? { ...answer, lsn: 0 } : answer);
      });
    });
  }

  #after(run: () => void): () => void {
    this.#timers.push(run);
    return () => {
      this.#timers = this.#timers.filter((each) => each !== run);
    };
  }
}
