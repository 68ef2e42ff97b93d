import { decodeBatch, type Batch } from '@tidemark/proto';
import type { LastRecord } from '../../../invalidator/src/core/start.ts';
import type { Server } from './postgres.ts';

/** A record with what the oracle knows of it. */
export interface TopicRecord {
  /** In the order of writing; never used twice, whatever is lost. */
  readonly seq: number;
  readonly bytes: Uint8Array;
  readonly batch: Batch;
  /** Whose changes it tells of. */
  readonly server: Server;
  readonly atMs: number;
}

export interface Fetched {
  readonly records: readonly { readonly offset: number; readonly record: TopicRecord }[];
  readonly nextOffset: number;
  readonly caughtUp: boolean;
  /** Set when the offset does not exist: where to go on. */
  readonly reset: number | undefined;
}

/** A topic with one partition. */
export class Topic {
  isUp = true;
  #earliest = 0;
  #records: TopicRecord[] = [];
  #seq = 0;
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get earliest(): number {
    return this.#earliest;
  }

  get next(): number {
    return this.#earliest + this.#records.length;
  }

  /** What Kafka has now. */
  get records(): readonly TopicRecord[] {
    return this.#records;
  }

  append(bytes: Uint8Array, server: Server): TopicRecord {
    this.assertUp();
    const decoded = decodeBatch(bytes);
    if (decoded.kind !== 'batch') throw new Error(decoded.kind);
    const record = { seq: (this.#seq += 1), bytes, batch: decoded.batch, server, atMs: this.#nowMs() };
    this.#records.push(record);
    return record;
  }

  /** A producer that missed the acknowledgement sends a record again: the newest but so many. */
  repeat(back: number): void {
    const record = this.#records.at(-1 - back);
    if (record !== undefined && this.isUp) this.append(record.bytes, record.server);
  }

  newest(): TopicRecord | undefined {
    this.assertUp();
    return this.#records.at(-1);
  }

  /** Where a reader without a place begins. */
  get newestOffset(): number {
    return Math.max(this.#earliest, this.next - 1);
  }

  /** As the record reader asks and understands it (proto/runtime/src/record-reader.ts). */
  fetch(offset: number, most: number): Fetched {
    this.assertUp();
    if (offset < this.#earliest || offset > this.next)
      return { records: [], nextOffset: this.newestOffset, caughtUp: false, reset: this.newestOffset };
    const records = this.#records
      .slice(offset - this.#earliest, offset - this.#earliest + most)
      .map((record, i) => ({ offset: offset + i, record }));
    const nextOffset = offset + records.length;
    return { records, nextOffset, caughtUp: nextOffset >= this.next, reset: undefined };
  }

  /** Whether a long poll from there would be answered now. */
  hasNews(offset: number): boolean {
    return !this.isUp || offset !== this.next;
  }

  /** An unclean election: acknowledged records are gone, and their offsets are used again. */
  loseNewest(count: number): void {
    this.#records.length = Math.max(0, this.#records.length - count);
  }

  /** Retention. */
  forgetOldest(count: number): void {
    this.#earliest += this.#records.splice(0, count).length;
  }

  /** Somebody deleted the topic and made it again. */
  recreate(): void {
    this.#earliest = 0;
    this.#records = [];
  }

  assertUp(): void {
    if (!this.isUp) throw new Error('Kafka is away');
  }
}

/** What a start asks of the newest record. */
export function lastRecordOf({ batch }: TopicRecord): LastRecord {
  const { epoch, to, visible, systemId, timeline } = batch;
  return { epoch, to, visible, systemId, timeline };
}
