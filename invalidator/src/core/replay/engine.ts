import {
  classify,
  decodeBatch,
  invalidate,
  type Batch,
  type CoarseCause,
  type CompiledRules,
  type DecodedBatch,
  type InvalidationSink,
  type InvalidationTrace,
  type Lsn,
  type NamespaceRules,
  type Op,
  type Position,
  type Span,
} from '@tidemark/proto';
import { commitsWithin, RangeFilter, type Range } from './range.ts';

/** A record of the topic, or of a capture of it. */
export interface ReplayRecord {
  readonly offset: number;
  readonly value: Uint8Array;
  /** When it was written, ms since 1970. */
  readonly timestampMs: number;
}

/** Why all of a namespace is invalidated. */
export type FallCause =
  | CoarseCause
  /** The block of a table, or a whole record, cannot be read. */
  | 'unreadable'
  /** The record was written for newer readers. */
  | 'too-new'
  /** Records are missing in the stream. */
  | 'gap'
  /** A new generation of the stream begins. */
  | 'new-epoch'
  /** Somebody asked for it. */
  | 'purge';

/** One reason for the fall of a namespace in one record. */
export interface Fall {
  readonly cause: FallCause;
  /** Columns whose values were missing. */
  readonly columns: readonly string[];
}

/** Where what is told now comes from. The object is used again: read it at once. */
export interface Origin {
  readonly epoch: number;
  /** Commit time of the newest transaction of the record, microseconds since 1970; 0 when unknown. */
  readonly committedAtUs: number;
  /** '' for what comes from no table. */
  readonly table: string;
  /** Undefined for what comes from no single change. */
  readonly op: Op | undefined;
}

/** Learns what a replay finds, in the order of the stream. */
export interface ReplayOutput {
  key(namespace: NamespaceRules, key: string, lsn: Lsn, origin: Origin): void;
  tag(namespace: NamespaceRules, tag: string, lsn: Lsn, origin: Origin): void;
  /** Every key that begins so; only purges do that. */
  prefix(namespace: NamespaceRules, prefix: string, lsn: Lsn, origin: Origin): void;
  namespace(namespace: NamespaceRules, lsn: Lsn, falls: readonly Fall[], origin: Origin): void;
  /** A table with a rule has changes in a record, with these columns. */
  block?(table: string, columns: readonly string[]): void;
  change?(table: string): void;
  /** What comes now is of a record whose publisher served these rules. */
  covers?(hashes: readonly bigint[]): void;
}

/** Sums of a replay, all from its first run on. */
export interface ReplayCounts {
  /** Records of the range. */
  records: number;
  /** Changes of rows in tables with a rule. */
  changes: number;
  /** Records that repeat what was there, and those of a replaced publisher. */
  repeated: number;
  unreadable: number;
  gaps: number;
  epochs: number;
}

/** Where a replay stands; what it needs to go on elsewhere. */
export interface ReplayState {
  readonly nextOffset: number;
  /** Undefined until a record could be read. */
  readonly position: Position | undefined;
  /** Whether the range has begun. */
  readonly isInside: boolean;
  /** The newest record could not be read: what follows cannot be known to follow it. */
  readonly isBroken: boolean;
  readonly counts: ReplayCounts;
}

export interface ReplayOptions {
  readonly rules: CompiledRules;
  readonly range: Range;
  readonly output: ReplayOutput;
  /** Where an earlier run had come to. */
  readonly resume?: ReplayState;
}

/** Turns records into invalidations as a consumer of the stream would that has just begun (SPEC I1). */
export class Replay {
  readonly #rules: CompiledRules;
  readonly #range: Range;
  readonly #output: ReplayOutput;
  readonly #filter: RangeFilter;
  readonly #sink: InvalidationSink & InvalidationTrace;
  readonly #origin = { epoch: 0, committedAtUs: 0, table: '', op: undefined as Op | undefined };
  readonly #counts: ReplayCounts;
  #nextOffset: number;
  #position: Position | undefined;
  #isInside: boolean;
  #isBroken: boolean;
  /** Commit positions that are told, of the record at hand. */
  #above: Lsn = -1;
  #upTo: Lsn = 0;
  readonly #falls = new Map<NamespaceRules, Fall[]>();
  #covers: readonly bigint[] = [];

  constructor({ rules, range, output, resume }: ReplayOptions) {
    this.#rules = rules;
    this.#range = range;
    this.#output = output;
    this.#nextOffset = resume?.nextOffset ?? 0;
    this.#position = resume?.position;
    this.#isInside = resume?.isInside ?? false;
    this.#isBroken = resume?.isBroken ?? false;
    this.#counts = { records: 0, changes: 0, repeated: 0, unreadable: 0, gaps: 0, epochs: 0, ...resume?.counts };
    const reached = resume?.isInside === true && resume.position;
    this.#filter = new RangeFilter(range, reached ? { epoch: reached.epoch, lsn: reached.applied } : undefined);
    this.#sink = this.#makeSink();
  }

  get state(): ReplayState {
    return {
      nextOffset: this.#nextOffset,
      position: this.#position,
      isInside: this.#isInside,
      isBroken: this.#isBroken,
      counts: { ...this.#counts },
    };
  }

  get counts(): Readonly<ReplayCounts> {
    return this.#counts;
  }

  /** Takes the next record. False when the range has ended before it. Records that an earlier run took are skipped. */
  take(record: ReplayRecord): boolean {
    if (record.offset < this.#nextOffset) return true;
    const decoded = decode(record.value);
    const span = decoded?.kind === 'batch' ? decoded.batch : decoded?.span;
    const place = this.#filter.place({ timestampMs: record.timestampMs, span });
    if (place === 'after') return false;
    this.#nextOffset = record.offset + 1;
    if (place === 'before') this.#pass(span);
    else {
      this.#isInside = true;
      this.#counts.records += 1;
      if (decoded === undefined || span === undefined) {
        this.#counts.unreadable += 1;
        this.#isBroken = true;
      } else this.#tell(decoded, span);
    }
    return true;
  }

  /** Before the range: only where the chain is counts, so that a gap at its beginning is seen. */
  #pass(span: Span | undefined): void {
    this.#isBroken = span === undefined;
    if (span !== undefined && this.#stepOf(span) !== 'stale') this.#advance(span);
  }

  #tell(decoded: DecodedBatch, span: Span): void {
    const step = this.#stepOf(span);
    if (step === 'stale') {
      this.#counts.repeated += 1;
      return;
    }
    const applied = this.#position?.applied ?? -1;
    const within = commitsWithin(this.#range, span);
    // A record that begins before the position repeats changes that were told.
    this.#above = Math.max(within.above, step === 'next' ? applied : -1);
    this.#upTo = within.upTo;
    this.#advance(span);
    const wasBroken = this.#isBroken;
    this.#isBroken = false;
    this.#origin.epoch = span.epoch;
    this.#origin.committedAtUs = decoded.kind === 'batch' ? decoded.batch.committedAtUs : 0;
    const cause =
      decoded.kind === 'too-new' ? 'too-new' : step !== 'next' ? step : wasBroken ? 'unreadable' : undefined;
    if (step === 'gap') this.#counts.gaps += 1;
    if (step === 'new-epoch') this.#counts.epochs += 1;
    if (decoded.kind === 'too-new') this.#counts.unreadable += 1;
    if (cause !== undefined) this.#fallAll(cause, span.to);
    else if (decoded.kind === 'batch') this.#tellBatch(decoded.batch);
  }

  #tellBatch(batch: Batch): void {
    if (batch.covers !== this.#covers) {
      this.#covers = batch.covers;
      this.#output.covers?.(batch.covers);
    }
    if (batch.tables.length > 0 || batch.purges.length > 0) invalidate(this.#rules, batch, this.#sink, this.#sink);
  }

  /** What the record says is in it, but what came before is not known: all of it counts as changed. */
  #fallAll(cause: FallCause, lsn: Lsn): void {
    this.#origin.table = '';
    this.#origin.op = undefined;
    for (const namespace of this.#rules.namespaces)
      this.#output.namespace(namespace, lsn, [{ cause, columns: [] }], this.#origin);
  }

  #stepOf(span: Span): 'next' | 'gap' | 'new-epoch' | 'stale' {
    if (this.#position === undefined) return 'next';
    const step = classify(this.#position, span);
    return step === 'duplicate' || step === 'stale-epoch' ? 'stale' : step;
  }

  #advance(span: Span): void {
    this.#position = { epoch: span.epoch, applied: span.to };
  }

  #makeSink(): InvalidationSink & InvalidationTrace {
    const output = this.#output;
    const origin = this.#origin;
    const falls = this.#falls;
    const counts = this.#counts;
    const isWithin = (lsn: Lsn): boolean => lsn > this.#above && lsn <= this.#upTo;
    return {
      key(namespace, key, lsn) {
        if (isWithin(lsn)) output.key(namespace, key, lsn, origin);
      },
      tag(namespace, tag, lsn) {
        if (isWithin(lsn)) output.tag(namespace, tag, lsn, origin);
      },
      prefix(namespace, prefix, lsn) {
        if (isWithin(lsn)) output.prefix(namespace, prefix, lsn, origin);
      },
      // One fall stands for several changes and has the position of the newest: it may lie behind the range and they not.
      namespace: (namespace, lsn) => {
        const why = falls.get(namespace);
        falls.delete(namespace);
        const { op } = origin;
        if (why !== undefined) origin.op = undefined;
        if (lsn > this.#above) output.namespace(namespace, lsn, why ?? [{ cause: 'purge', columns: [] }], origin);
        origin.op = op;
      },
      block(table, columns) {
        falls.clear();
        origin.table = table;
        output.block?.(table, columns);
      },
      change(op) {
        origin.op = op;
        counts.changes += 1;
        output.change?.(origin.table);
      },
      coarse(namespace, cause, columns) {
        const known = falls.get(namespace);
        if (known === undefined) falls.set(namespace, [{ cause, columns }]);
        else if (!known.some((fall) => fall.cause === cause && fall.columns.join() === columns.join()))
          known.push({ cause, columns });
      },
      unreadable: (table) => {
        origin.table = table;
        for (const namespace of this.#rules.namespaces) falls.set(namespace, [{ cause: 'unreadable', columns: [] }]);
      },
      purges() {
        falls.clear();
        origin.table = '';
        origin.op = undefined;
      },
    };
  }
}

function decode(value: Uint8Array): DecodedBatch | undefined {
  try {
    return decodeBatch(value);
  } catch {
    return undefined;
  }
}
