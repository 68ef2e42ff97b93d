import {
  decodeBatch,
  formatLsn,
  Op,
  parseLsn,
  readTableChanges,
  type Batch,
  type Lsn,
  type Row,
} from '@tidemark/proto';
import { createKafka, createLogger, RecordReader } from '@tidemark/runtime';
import type { Stack } from '../../kit/index.ts';
import { eventually } from './eventually.ts';

/** A row change as a record has it, with values by column; undefined is a value that the publisher did not know. */
export interface Change {
  readonly table: string;
  readonly op: 'insert' | 'update' | 'delete' | 'all';
  readonly before?: Readonly<Record<string, string | null | undefined>>;
  readonly after?: Readonly<Record<string, string | null | undefined>>;
  readonly commit: Lsn;
}

const OPS: Readonly<Record<number, Change['op']>> = {
  [Op.insert]: 'insert',
  [Op.update]: 'update',
  [Op.delete]: 'delete',
  [Op.wholeTable]: 'all',
};

interface FeedOptions {
  /** Told of each record as it arrives. */
  readonly onBatch?: (batch: Batch) => void;
  /** Whether a publisher may be paused in the middle of a write, and go on when it was replaced. */
  readonly expectsLate?: boolean;
}

/**
 * Reads a stack's topic from its first record on and holds every record to the chain (SPEC I1, I2, I3): each begins
 * where the one before it ended, epochs and the visible position never fall, and no commit lies outside.
 */
export class Feed {
  readonly batches: Batch[] = [];
  /** For each record, up to where those before it had told everything. */
  readonly #told: Lsn[] = [];
  readonly sizes: number[] = [];
  /** Overlaps that a restarted publisher may cause; a duplicate is legal, a gap is not. */
  repeats = 0;
  /** Records of a publisher that was replaced while it was paused, which readers skip (SPEC I2); only counted where expected. */
  late = 0;
  readonly #expectsLate: boolean;
  readonly #reader: RecordReader;
  readonly #onBatch: ((batch: Batch) => void) | undefined;
  #broken: Error | undefined;

  private constructor(stack: Pick<Stack, 'brokers' | 'topic'>, options: FeedOptions) {
    this.#onBatch = options.onBatch;
    this.#expectsLate = options.expectsLate ?? false;
    const logger = createLogger({ service: 'test', instance: 'feed', level: 'silent' });
    this.#reader = new RecordReader({
      kafka: createKafka({ brokers: stack.brokers, tls: false, clientId: 'test-feed', logger }),
      topic: stack.topic,
      start: { from: 'offset', offset: 0 },
      logger,
      onRecords: ({ records }) => {
        for (const { value } of records) this.#take(value);
      },
      onReset: ({ reason }) => {
        this.#broken = new Error(`the topic was reset: ${reason}`);
      },
    });
  }

  /** Begins to read; settles with the first record. `onBatch` is told of each as it arrives. */
  static async open(
    stack: Pick<Stack, 'brokers' | 'topic'>,
    onBatch?: (batch: Batch) => void,
    options: Omit<FeedOptions, 'onBatch'> = {},
  ): Promise<Feed> {
    const feed = new Feed(stack, { ...options, ...(onBatch && { onBatch }) });
    await feed.reaches(0);
    return feed;
  }

  get last(): Batch {
    const batch = this.batches.at(-1);
    if (batch === undefined) throw new Error('no record yet');
    return batch;
  }

  /** Waits until a record reaches a position; fails if the chain was broken on the way. */
  async reaches(lsn: Lsn | string, withinMs = 60_000): Promise<void> {
    const wanted = typeof lsn === 'string' ? parseLsn(lsn) : lsn;
    await eventually(
      () => {
        if (this.#broken !== undefined) throw this.#broken;
        if (this.last.to < wanted)
          throw new Error(`the newest record ends at ${formatLsn(this.last.to)}, before ${formatLsn(wanted)}`);
      },
      { withinMs },
    );
  }

  /** Waits until the records have come past everything that is committed by now. */
  async catchesUp(stack: Pick<Stack, 'sql'>, withinMs?: number): Promise<void> {
    const [row] = await stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
    await this.reaches(row?.lsn ?? '', withinMs);
  }

  /** The epochs of all records, in their order. */
  get epochs(): readonly number[] {
    return [...new Set(this.batches.map(({ epoch }) => epoch))];
  }

  /** Waits until the newest record claims so many namespaces. */
  async claims(namespaces: number, withinMs = 60_000): Promise<void> {
    await eventually(
      () => {
        const { length } = this.last.covers;
        if (length !== namespaces)
          throw new Error(`the newest record claims ${length} namespaces, expected ${namespaces}`);
      },
      { withinMs },
    );
  }

  /** Row changes of the records from an index on; what a restarted publisher repeats is told once. */
  changes(fromBatch = 0): Change[] {
    return this.batches.slice(fromBatch).flatMap((batch, i) => {
      const told = this.#told[fromBatch + i] as Lsn;
      return changesOf(batch).filter(({ commit }) => commit > told);
    });
  }

  async stop(): Promise<void> {
    await this.#reader.stop();
    if (this.#broken !== undefined) throw this.#broken;
  }

  #take(value: Uint8Array): void {
    try {
      const decoded = decodeBatch(value);
      if (decoded.kind !== 'batch') throw new Error('a record of a newer version');
      if (this.#expectsLate && this.#isLate(decoded.batch)) {
        this.late += 1;
        return;
      }
      this.#check(decoded.batch);
      const last = this.batches.at(-1);
      this.#told.push(last?.epoch === decoded.batch.epoch ? last.to : 0);
      this.batches.push(decoded.batch);
      this.sizes.push(value.length);
      this.#onBatch?.(decoded.batch);
    } catch (error) {
      this.#broken ??= error as Error;
    }
  }

  /** It tells nothing that its successor has not told: it ends before, or there, but saw less of what was visible. */
  #isLate({ epoch, to, visible }: Batch): boolean {
    const last = this.batches.at(-1);
    return last?.epoch === epoch && (to < last.to || (to === last.to && visible < last.visible));
  }

  #check(batch: Batch): void {
    const last = this.batches.at(-1);
    if (last === undefined || batch.epoch > last.epoch) return;
    if (batch.epoch < last.epoch) throw new Error(`epoch ${batch.epoch} after ${last.epoch}`);
    if (batch.from > last.to) throw new Error(`a gap from ${formatLsn(last.to)} to ${formatLsn(batch.from)}`);
    if (batch.visible < last.visible)
      throw new Error(`visible fell from ${formatLsn(last.visible)} to ${formatLsn(batch.visible)}`);
    if (batch.from < last.to) this.repeats += 1;
  }
}

function changesOf(batch: Batch): Change[] {
  const changes: Change[] = [];
  for (const block of batch.tables) {
    const reader = readTableChanges(block.changes);
    const named = (row: Row | undefined) =>
      row && Object.fromEntries(reader.columns.map((column, i) => [column, row[i]]));
    reader.forEach((op, commit, before, after) => {
      const [old, young] = [named(before), named(after)];
      changes.push({
        table: `${block.schema}.${block.table}`,
        op: OPS[op] as Change['op'],
        ...(old && { before: old }),
        ...(young && { after: young }),
        commit: batch.commits[commit] as Lsn,
      });
    });
  }
  return changes;
}

/** Runs SQL and returns what the records then say of it, once they have come past it. */
export async function changesAfter(options: { stack: Stack; feed: Feed; sql: string }): Promise<Change[]> {
  const { stack, feed, sql } = options;
  const [start] = await stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  await stack.sql(sql);
  const [end] = await stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  await feed.reaches(end?.lsn ?? '');
  const after = parseLsn(start?.lsn ?? '');
  return feed.changes().filter(({ commit }) => commit > after);
}
