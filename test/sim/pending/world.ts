import { encodePendingWrite, FLUSHED_MARK_WORD, formatFlushedMark } from '@tidemark/proto';
import type { Dice } from '../../../sidecar/src/testing/random.ts';

export const TOPIC = 'writes';
export const NAMESPACE = 'items';

/** A write in the topic; its offset is its place. */
export interface Write {
  readonly key: string;
  readonly value: Uint8Array;
}

/** What one transaction of the flusher did. */
export interface Flush {
  readonly from: number;
  readonly to: number;
  readonly lsn: number;
}

/** One record of the stream of changes: everything that was committed in `(from, to]`. */
export interface StreamRecord {
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  readonly visible: number;
  readonly marks: readonly { readonly rest: string; readonly lsn: number }[];
}

/** Kafka's topic of writes, Postgres with the flusher, and the stream that tells of it. */
export class World {
  readonly writes: Write[] = [];
  /** Offset of the oldest write that Kafka still has. */
  earliest = 0;
  flushes: Flush[] = [];
  /** Of the newest commit, and of the newest that new snapshots see. */
  lsn = 100;
  visible = 100;
  epoch = 1;
  readonly stream: StreamRecord[] = [{ epoch: 1, from: 0, to: 100, visible: 100, marks: [] }];
  readonly #dice: Dice;

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  get end(): number {
    return this.writes.length;
  }

  /** Where the flusher goes on. */
  get progress(): number {
    return this.flushes.at(-1)?.to ?? 0;
  }

  append(key: string): number {
    const write = {
      namespace: NAMESPACE,
      key,
      kind: this.#dice.chance(0.2) ? 'delete' : 'put',
      contentType: '',
      tags: [],
      atMs: 0,
    } as const;
    this.writes.push({ key, value: encodePendingWrite({ ...write, body: Uint8Array.of(this.writes.length % 251) }) });
    return this.end - 1;
  }

  flush(): void {
    if (this.progress === this.end) return;
    this.lsn += 1 + this.#dice.below(3);
    this.flushes.push({
      from: this.progress,
      to: this.progress + 1 + this.#dice.below(this.end - this.progress),
      lsn: this.lsn,
    });
  }

  /** Somebody else commits. */
  commit(): void {
    this.lsn += 1;
  }

  see(): void {
    if (this.visible < this.lsn) this.visible += 1 + this.#dice.below(this.lsn - this.visible);
  }

  /** The publisher writes what was committed meanwhile, in one record or none. */
  publish(): void {
    const last = this.stream.at(-1) as StreamRecord;
    const from = last.epoch === this.epoch ? last.to : this.lsn;
    const told = this.flushes.filter(({ lsn }) => lsn > from && lsn <= this.lsn);
    const marks = told.map(({ to, lsn }) => ({
      rest: formatFlushedMark(TOPIC, to).slice(FLUSHED_MARK_WORD.length + 1),
      lsn,
    }));
    const visible = Math.min(this.visible, this.lsn, this.#dice.chance(0.5) ? this.lsn : last.visible);
    this.stream.push({
      epoch: this.epoch,
      from,
      to: this.lsn,
      visible: last.epoch === this.epoch ? Math.max(visible, last.visible) : this.visible,
      marks,
    });
  }

  /** A failover that loses the newest commits, which is a new epoch; positions are used again. */
  failOver(): void {
    this.lsn = Math.max(this.earliestSafe(), this.lsn - this.#dice.below(12));
    this.flushes = this.flushes.filter(({ lsn }) => lsn <= this.lsn);
    this.visible = this.lsn;
    this.epoch += 1;
    this.publish();
  }

  /** Kafka forgets what was flushed long ago. */
  forget(): void {
    const safe = this.flushes.findLast(({ lsn }) => lsn <= this.earliestSafe())?.to ?? 0;
    this.earliest = Math.max(this.earliest, this.#dice.below(safe + 1));
  }

  /** What a failover never takes. */
  earliestSafe(): number {
    return Math.max(100, this.#newestLsn - 20);
  }

  get #newestLsn(): number {
    return Math.max(this.lsn, ...this.stream.map(({ to }) => to));
  }

  /** The position of the flush of a write; infinite where it was not flushed. */
  flushedAt(offset: number): number {
    return this.flushes.find(({ to }) => offset < to)?.lsn ?? Number.POSITIVE_INFINITY;
  }

  /** What the invalidator answers: what a new snapshot sees, and then the position. */
  answer(): { offset: number; epoch: number; lsn: number } {
    const offset = this.flushes.findLast(({ lsn }) => lsn <= this.visible)?.to ?? 0;
    return { offset, epoch: this.epoch, lsn: this.lsn };
  }
}
